"""A folder in which a study of docs/examples/data runs, and its home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.storage.embedded.embedded import leave_embedded

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "data"


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the files that the test's module names in COPIED."""
    place = tmp_path_factory.mktemp("place")
    for name in request.module.COPIED:
        shutil.copy(EXAMPLES / name, place)
    yield place
    leave_embedded(place / "home")


@pytest.fixture(autouse=True)
def home(place: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `cd place`, whose modules Python finds."""
    monkeypatch.setenv("HPO_HOME", str(place / "home"))
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.chdir(place)
