"""`hpo report` on databases of every kind, and what it says when it cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from report_studies import searched
from sqlalchemy import Engine

from hpo.cli.main import run_command
from hpo.report import png
from hpo.storage import queries
from hpo.storage.queries import EpochRow, TrialResult, WriteBatch

Stored = Callable[..., tuple[str, object]]


@pytest.fixture
def url(stored: Stored) -> str:
    return stored(lambda study: searched(study, 12), name="a/b <c>")[0]


def test_a_study_of_plain_optuna_in_sqlite(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is named after the study, without what a folder cannot be called; stdout is the page's path."""
    monkeypatch.chdir(tmp_path)
    assert run_command(["report", "--study", "a/b <c>", "--storage", url]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == "reports/a_b_c_/index.html"
    assert said.err.startswith("not drawn (the page says why): contour")  # and no empty line of a progress bar
    assert (tmp_path / "reports" / "a_b_c_" / "trials.csv").is_file()


def test_json_lists_the_files(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json names every file and every plot that was not drawn, with the reason."""
    out = tmp_path / "out"
    assert run_command(["report", "-s", "a/b <c>", "--storage", url, "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert all(Path(path).is_file() for path in document["files"])
    assert (document["study"], document["trials"], list(document["not_drawn"])) == ("a/b <c>", 12, ["contour"])
    assert document["not_drawn"]["contour"] == "It needs 10 complete trials; there are 8."


def test_a_study_of_ours_in_postgres(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """A running study on PostgreSQL: its declaration, budget and per-epoch history are in the report."""
    with engine.begin() as c:
        study_id = queries.create_study(c, "ours", (StudyDirection.MAXIMIZE,))
        declaration = {"lr": "1e-05 .. 0.1 log", "(objective)": "maximize val_accuracy"}
        queries.register(c, study_id, fingerprint="f", declaration=declaration, source="", seed=0, facts={"uid": "u"})
        queries.set_budget(c, study_id, 3600.0, 5)
        first, _ = queries.claim(c, study_id, "w", "host", 30, 2)
    with engine.begin() as c:
        writes = WriteBatch()
        for epoch in (1, 2):
            writes.epoch(EpochRow(first.trial_id, epoch, val_accuracy=0.5 + epoch / 10))
        writes.finish(TrialResult(first.trial_id, TrialState.COMPLETE, (0.7,)))
        queries.save(c, writes, "w")
    out = tmp_path / "out"
    assert run_command(["report", "-s", "ours", "--storage", database_url, "--out", str(out)]) == 0
    document = json.loads((out / "report.json").read_text())
    assert document["declaration"] == declaration
    assert document["objectives"] == [{"name": "val_accuracy", "direction": "maximize"}]
    assert (document["budget"]["trials_target"], document["counts"]["running"]) == (5, 1)
    curves = pandas.read_csv(out / "curves.csv", parse_dates=["recorded_at"])
    assert curves["val_accuracy"].tolist() == pytest.approx([0.6, 0.7])
    assert str(curves["recorded_at"].dtype).endswith("UTC]")


def test_an_unknown_study_names_those_there_are(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name is a mistake with a list, and nothing is written."""
    assert run_command(["report", "--study", "nope", "--storage", url, "--out", "nowhere"]) == 2
    said = capsys.readouterr().err
    assert 'no study "nope"' in said
    assert "a/b <c>" in said
    assert "Traceback" not in said
    assert not Path("nowhere").exists()


def test_a_folder_that_cannot_be_made(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the way is named, with what to do."""
    (tmp_path / "file").write_text("")
    assert run_command(["report", "-s", "a/b <c>", "--storage", url, "--out", str(tmp_path / "file" / "x")]) == 2
    said = capsys.readouterr().err
    assert "cannot write the report" in said
    assert "--out" in said


def test_png_without_chromium(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--png says before any work that no Chromium was found, and that the page needs none."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("BROWSER_PATH", "/nonexistent")
    assert run_command(["report", "-s", "a/b <c>", "--storage", url, "--png"]) == 5
    assert "none was found" in capsys.readouterr().err


def test_png_without_kaleido(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra, --png names the extra."""
    monkeypatch.setitem(sys.modules, "kaleido", None)
    monkeypatch.setattr(png.importlib.util, "find_spec", lambda _name: None)
    assert run_command(["report", "-s", "a/b <c>", "--storage", url, "--png"]) == 2
    assert "pip install kaleido" in capsys.readouterr().err
