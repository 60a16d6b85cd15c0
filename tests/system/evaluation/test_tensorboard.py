"""`--tensorboard`: what a stock TensorBoard reads from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluated_study import QUICK

import hpo
from hpo.errors import UsageError

pytest.importorskip("tensorboard", reason="pip install tensorboard")


def test_scalars_and_hparams_of_every_trial(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial has one scalar per epoch, equal to what Optuna has, and its parameters, objective and
    outcome stand where the HParams table is made from."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    monkeypatch.setenv("HPO_STORAGE", database_url)
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    found = hpo.run(QUICK, trials=4, trainers=2, tensorboard=str(tmp_path / "logs"))
    read = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "logs")).Reload()
    assert set(read.Runs()) == {"quick", *(f"quick/trial-{number:05d}" for number in range(4))}
    content = read.SummaryMetadata("quick", metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert {info.name for info in experiment.hparam_infos} == {"status", "batch_size", "hidden_units", "lr"}
    assert [info.name.tag for info in experiment.metric_infos] == ["objective/val_accuracy"]
    for trial in found.frozen:
        run = f"quick/trial-{trial.number:05d}"
        curve = {event.step: event.value for event in read.Scalars(run, "val_accuracy")}
        assert curve == pytest.approx(trial.intermediate_values)
        assert [event.value for event in read.Scalars(run, "objective/val_accuracy")] == pytest.approx(trial.values)
        start = read.SummaryMetadata(run, metadata.SESSION_START_INFO_TAG).plugin_data.content
        hparams = metadata.parse_session_start_info_plugin_data(start).hparams
        numbers = {name: value.number_value for name, value in hparams.items() if name != "status"}
        assert numbers == pytest.approx(trial.params)
        assert hparams["status"].string_value == "complete"
        end = read.SummaryMetadata(run, metadata.SESSION_END_INFO_TAG).plugin_data.content
        assert metadata.parse_session_end_info_plugin_data(end).status == 1


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_trial(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be is a clear error."""
    monkeypatch.setenv("HPO_STORAGE", database_url)
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(UsageError, match="cannot write to"):
        hpo.run(QUICK, trials=1, tensorboard=str(tmp_path / "logs"))
