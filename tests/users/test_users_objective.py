"""A user with a script for study.optimize, which is not edited: searched, joined, compared, killed by nobody."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine

from hpo.cli.main import run_command

SCRIPT = str(Path(__file__).parent / "own_objective" / "train.py")


def test_an_optuna_script_runs_as_it_is(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("HPO_STORAGE", url)
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    run = ["run", "--study", f"{SCRIPT}:objective", "--direction", "maximize", "--trials", "8", "--trainers", "1"]
    assert run_command(run) == 0
    stored = optuna.load_study(study_name="train", storage=url)
    assert len(stored.trials) == 8
    assert stored.best_value > 0.9
    for trial in stored.trials:
        assert ("averaged_from" in trial.params) == (trial.params["loss"] == "hinge")
        if trial.state == optuna.trial.TrialState.COMPLETE:
            assert trial.user_attrs["weights"] == 640
            assert sorted(trial.intermediate_values) == [0, 1, 2, 3, 4]

    capsys.readouterr()
    assert run_command(["best", "--study", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == stored.best_value
    assert run_command(["report", "--study", "train", "--out", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "index.html").is_file()
    assert run_command(["evaluate", "--study", "train"]) == 2
    assert "needs a model that hpo trains" in capsys.readouterr().err
