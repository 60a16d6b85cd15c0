"""What a function of the user's own reports under its own names, in every place that shows what was reported."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pandas
import pytest
from sqlalchemy import Engine, text

import hpo
from hpo.cli.main import run_command

SCRIPT = """
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    for step in range(3):
        trial.report(x + step, step)
        trial._link.report(step, {"val_loss": 1.0 - step / 4, "[b]odd": float("nan") if step else 1.0})
    return x + 2
"""


@pytest.fixture
def reported(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hpo.Result:
    """Two trials of three steps, with a metric of the study's and two others."""
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    (tmp_path / "own.py").write_text(SCRIPT)
    return hpo.run(
        f"{tmp_path / 'own.py'}:objective", direction="maximize", metric="macro f1", pruner="none", name="own",
        trials=2, trainers=1, tensorboard=str(tmp_path / "logs"),
    )  # fmt: skip


def test_metrics_stand_wherever_curves_stand(
    reported: hpo.Result, engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with engine.connect() as connection:
        query = text("SELECT CAST(metrics AS jsonb) ->> 'val_loss' FROM hpo_epochs WHERE epoch = 1")
        assert list(connection.execute(query).scalars()) == ["0.75", "0.75"]
    first = next(trial for trial in reported.frozen if trial.number == 0)
    assert (first.values, list(first.intermediate_values)) == ([first.params["x"] + 2], [0, 1, 2])

    capsys.readouterr()
    assert run_command(["trials", "--study", "own", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)[0]
    assert shown["metrics"] == {"macro f1": first.values[0], "val_loss": 0.5, "[b]odd": None}
    assert run_command(["best", "--study", "own", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["val_loss"] == 0.5

    assert run_command(["report", "--study", "own", "--out", str(tmp_path / "report")]) == 0
    curves = pandas.read_csv(tmp_path / "report" / "curves.csv").set_index(["trial", "step"])
    assert curves.loc[(0, 1), "macro f1"] == first.params["x"] + 1
    assert curves.loc[(0, slice(None)), "val_loss"].tolist() == [1.0, 0.75, 0.5]
    assert {"[b]odd", "recorded_at", "seconds"} < set(curves.columns)
    assert "train_loss" not in curves

    study = optuna.load_study(study_name="own", storage=engine.url.render_as_string(hide_password=False))
    assert study.metric_names == ["macro f1"]


def test_tensorboard_has_each_metric_by_step_and_every_parameter(reported: hpo.Result, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    read = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "logs")).Reload()
    for trial in reported.frozen:
        run = f"own/trial-{trial.number:05d}"
        curves = {
            name: {event.step: event.value for event in read.Scalars(run, name)} for name in ("macro f1", "val_loss")
        }
        assert curves["macro f1"] == pytest.approx(trial.intermediate_values)
        assert curves["val_loss"] == {0: 1.0, 1: 0.75, 2: 0.5}
        start = read.SummaryMetadata(run, metadata.SESSION_START_INFO_TAG).plugin_data.content
        assert set(metadata.parse_session_start_info_plugin_data(start).hparams) == {"x", "status"}
