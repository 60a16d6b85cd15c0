"""docs/ shows the files of docs/examples as they are, and the first tutorials do what they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from cli_commands import ROOT, Command

DOCS = ROOT / "docs"
SHOWN = re.compile(r'```python title="([^"]+)"\n(.*?)```', re.DOTALL)
PAGES = {path: SHOWN.findall(path.read_text(encoding="utf-8")) for path in DOCS.rglob("*.md")}


@pytest.mark.parametrize("page", [path for path, shown in PAGES.items() if shown], ids=lambda path: path.stem)
def test_a_page_shows_the_files_that_it_names_as_they_are(page: Path) -> None:
    for name, text in PAGES[page]:
        assert text == (DOCS / name).read_text(encoding="utf-8"), name


def test_the_network_of_ones_own_is_checked_searched_and_named_in_the_error_for_a_typing_mistake(
    hpo: Command, database_url: str, tmp_path: Path
) -> None:
    """What docs/tutorial/own-model.md says, in its order."""
    for file in (DOCS / "examples" / "tutorial").glob("*.py"):
        shutil.copy(file, tmp_path)
    environ = {"HPO_STORAGE": database_url}
    wrong = tmp_path / "wrong.py"
    wrong.write_text((tmp_path / "my_net.py").read_text().replace('"dropout": Float', '"dropuot": Float'))
    refused = hpo("check", "--study", "wrong.py", env=environ)
    assert refused.code == 2
    assert "dropuot" in refused.err
    done = hpo("run", "--study", "my_net.py", "--trials", "2", "--subset", "200", env=environ)
    assert done.code == 0, done.err
    assert "2 complete" in done.out
    done = hpo("run", "--study", "augmented.py", "--trials", "2", "--subset", "200", env=environ)
    assert "2 complete" in done.out, done.err
