"""`hpo compare` on a database of plain Optuna's, and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from report_studies import searched

from hpo.cli.main import run_command

Stored = Callable[..., tuple[str, object]]


@pytest.fixture
def url(stored: Stored) -> str:
    """Of a database with a/b of 25 trials, c of 8, and empty."""
    found, _ = stored(lambda study: searched(study, 25), name="a/b")
    searched(optuna.create_study(storage=found, study_name="c", direction="maximize"), 8)
    optuna.create_study(storage=found, study_name="empty", direction="maximize")
    return found


def test_a_table_for_people_and_a_page(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "a/b", "c", "--storage", url, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("verdict  a/b found more than c, 0.12569 apart. In the search: a/b 0.78587 (trial 8)")
    head = [line.split() for line in said.splitlines() if line.startswith(("study", "parameter", "mattered"))]
    assert [line[:3] for line in head] == [["study", "best", "in"], ["parameter", "a/b", "c"], ["mattered", "a/b", "c"]]
    assert said.strip().endswith("out/index.html")
    assert (tmp_path / "out" / "comparison.json").is_file()


def test_json_has_everything(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "c", "a/b", "empty", "--storage", url, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["study"] for one in document["studies"]] == ["c", "a/b", "empty"]
    assert document["studies"][2]["best"] is None
    assert document["verdict"]["basis"] == "search"
    assert {len(row["found"]) for row in document["mattered"]} == {3}


def test_what_is_refused(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each names what is wrong and what to do, and writes nothing."""
    out = str(tmp_path / "out")
    for names, words in ((["c"], "c alone"), (["c", "d"], 'no study "d"'), (["c", "c"], "named twice"), ([], "A B")):
        assert run_command(["compare", *names, "--storage", url, "--out", out]) == 2
        assert words in capsys.readouterr().err
    assert not Path(out).exists()
