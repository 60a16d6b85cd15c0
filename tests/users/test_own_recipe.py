"""A user with a loss, metrics, an optimizer and a schedule of their own, augmentation and a tracker."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pandas
import pytest
from sqlalchemy import Engine

import hpo
from hpo.cli.main import run_command

HERE = Path(__file__).parent


@pytest.fixture
def place(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the study and the module of its parts; the trials go to the test's database."""
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "user"
    folder.mkdir()
    text = (HERE / "own_recipe" / "study.py").read_text()
    (folder / "study.py").write_text(text.replace("parts_of_training", module_of(folder)))
    shutil.copy(HERE.parent / "parts_of_training.py", folder / f"{module_of(folder)}.py")
    return folder


def module_of(folder: Path) -> str:
    """The name of the module there, which no other test's has: this process keeps what it has imported."""
    return f"parts_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def test_a_study_with_parts_of_its_own_goes_through_every_command(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(place / "study.py")
    assert run_command(["check", "--study", name, "--json"]) == 0
    told: list[tuple[int, float]] = []
    result = hpo.run(
        name, trials=3, trainers=1, tensorboard=tmp_path / "curves",
        on_trial_end=lambda study, trial: told.append((trial.number, trial.values[0])),
    )  # fmt: skip
    assert sorted(told) == [(trial.number, trial.values[0]) for trial in result.frozen]
    assert any((tmp_path / "curves").rglob("events.out.tfevents*"))
    assert {trial.state.name for trial in result.frozen} == {"COMPLETE"}
    baseline = next(trial for trial in result.frozen if trial.number == 0)
    record = baseline.user_attrs
    assert baseline.values == [record["metrics"]["errors"]]
    assert record["metrics"]["val_hits"] == pytest.approx(1.0 - baseline.values[0], abs=1e-6)
    assert record["config"]["loss"] == f"{module_of(place)}:softened"

    capsys.readouterr()
    assert run_command(["reproduce", "--study", name, "--trial", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"]

    out = tmp_path / "out"
    evaluate = ["evaluate", "--study", name, "--top", "1", "--seeds", "2", "--trainers", "1", "--out", str(out)]
    assert run_command([*evaluate, "--json"]) == 0
    document = json.loads((out / "evaluation.json").read_text())
    assert (document["metric"], document["direction"]) == ("test_errors", "minimize")
    row = document["configurations"][0]
    assert row["score"]["mean"] == pytest.approx(1.0 - row["test_accuracy"]["mean"], abs=1e-6)
    assert row["metrics"]["test_hits"]["mean"] == pytest.approx(row["test_accuracy"]["mean"], abs=1e-6)
    assert document["search_rerun"]["same"]
    assert run_command(evaluate) == 0
    assert "test_errors" in capsys.readouterr().out

    assert run_command(["report", "--study", name, "--out", str(out)]) == 0
    assert {"errors", "val_hits", "val_loss"} < set(pandas.read_csv(out / "curves.csv").columns)
    assert "test_errors decides" in (out / "index.html").read_text()
    export = ["export", "--study", name, "--model", str(out / "winner"), "--format", "torch-export"]
    assert run_command([*export, "--out", str(tmp_path / "model.pt2")]) == 0


def test_a_file_of_a_part_that_changed_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(place / "study.py")
    hpo.run(name, trials=1, trainers=1)
    with (place / f"{module_of(place)}.py").open("a") as file:
        file.write("\n# changed\n")
    assert run_command(["run", "--study", name, "--trials", "2", "--trainers", "1"]) == 3
    assert module_of(place) in capsys.readouterr().err


def test_a_part_that_cannot_be_used_is_told_before_the_first_trial(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / "study.py"
    path.write_text(path.read_text().replace(":softened", ":raises"))
    assert run_command(["run", "--study", str(path), "--trials", "1", "--trainers", "1"]) == 2
    said = capsys.readouterr().err
    assert "gamma" in said
    assert "def raises" in said
    path.write_text(path.read_text().replace(', reads={"gamma": Reads(float, 2.0, low=0.0)}', ""))
    assert run_command(["check", "--study", str(path)]) == 2
