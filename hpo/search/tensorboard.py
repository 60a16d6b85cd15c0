"""`--tensorboard DIR`: scalars per epoch and a row of the HParams table for every trial, without torch or TensorFlow.

DIR/STUDY/                 the columns of the HParams table
DIR/STUDY/trial-00012/     that trial's scalars, and once it has ended its parameters and its outcome

TensorBoard knows a session as a success or a failure, and would show a pruned trial as complete. So its outcome is
a column, too, called status. Of all columns TensorBoard shows five at first: those that are marked as differing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from hpo.errors import UsageError
from hpo.messages import Epoch
from hpo.search.outcomes import Outcome
from hpo.search.reporting import SearchProgress
from hpo.study.parameters import Categorical, Int
from hpo.study.study import Study
from hpo.trainers.trial import Trial

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

__all__ = ["TensorBoardProgress"]

SHOWN = 5
"""Columns of parameters that TensorBoard shows before anybody chooses."""

WANTED = ("lr", "optimizer", "layers")
"""Parameters of those, where a study has them; then as declared, and those that each layer has last."""

_ENDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class TensorBoardProgress(SearchProgress):
    """A SearchProgress that also writes TensorBoard's event files.

    What this host trains is written here; several hosts may write into one shared folder. Raises UsageError where
    tensorboard is not installed or the folder cannot be written; a disk that fills up later costs the log alone.
    """

    def __init__(self, folder: str, study: Study, *arguments: Any) -> None:
        super().__init__(study, *arguments)
        self._folder = Path(folder).expanduser() / study.name
        self._writers: dict[int, EventFileWriter] = {}
        self._resumed: set[int] = set()
        self._seen_first: dict[int, float] = {}
        self._told: dict[int, set[tuple[int, str]]] = {}  # by trial: steps and metrics of the user's own
        self._broken = False
        try:
            writer = _open(self._folder)
            if study.rows.searched:  # else nobody knows them yet; TensorBoard then gathers them from the trials
                _write(writer, _experiment(study), time.time())
            writer.close()
        except ImportError:
            raise UsageError("--tensorboard needs tensorboard", next="pip install tensorboard") from None
        except OSError as error:
            raise UsageError(
                f"cannot write to {self._folder}: {error.strerror or error}", next="give another --tensorboard"
            ) from error

    def epoch(self, trial: Trial, message: Epoch) -> None:
        super().epoch(trial, message)
        self._safely(lambda: self._epoch(trial, message))

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        super().finished(trial, outcome)
        self._safely(lambda: self._finish(trial, outcome))

    def _epoch(self, trial: Trial, message: Epoch) -> None:
        writer = self._writer(trial)
        if message.replayed and trial.trial_id in self._resumed:
            return  # written before the trial was released
        scalars = {**message.metrics, **message.own, "epoch_seconds": message.seconds}
        if self._study.own is not None:  # an attempt that begins again reports again
            told = self._told.setdefault(trial.trial_id, set())
            scalars = {name: value for name, value in scalars.items() if (message.epoch, name) not in told}
            told.update((message.epoch, name) for name in scalars)
        if not scalars:
            return
        _write(writer, _scalars(scalars), message.at or time.time(), message.epoch)

    def _finish(self, trial: Trial, outcome: Outcome) -> None:
        writer = self._writer(trial)
        self._told.pop(trial.trial_id, None)
        # Only now are status and, of an objective, all parameters known; TensorBoard reads a start once.
        _write(writer, _session_start(self._study, trial, outcome, self._seen_first.pop(trial.trial_id)), time.time())
        names = [f"objective/{metric}" for metric in self._study.objectives]
        if outcome.values:
            scalars = dict(zip(names, outcome.values, strict=True))
            _write(writer, _scalars(scalars), time.time(), trial.epoch)
        _write(writer, _session_end(failed=outcome.state == TrialState.FAIL), time.time())
        writer.close()
        del self._writers[trial.trial_id]

    def _writer(self, trial: Trial) -> EventFileWriter:
        if trial.trial_id not in self._writers:
            folder = self._folder / f"trial-{trial.number:05d}"
            if any(folder.glob("events.*")):
                self._resumed.add(trial.trial_id)
            writer = _open(folder)
            self._seen_first.setdefault(trial.trial_id, time.time())
            self._writers[trial.trial_id] = writer
        return self._writers[trial.trial_id]

    def _safely(self, write: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            write()
        except OSError as error:
            self._broken = True
            self.notice(f"TensorBoard logging stopped: {error.strerror or error} in {self._folder}")

    def close(self) -> None:
        for writer in self._writers.values():  # of released trials: whoever resumes them writes to another file
            self._safely(writer.close)
        self._writers.clear()


def _open(folder: Path) -> EventFileWriter:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    return EventFileWriter(str(folder), flush_secs=5)


def _write(writer: EventFileWriter, summary: Any, wall_time: float, step: int = 0) -> None:
    from tensorboard.compat.proto.event_pb2 import Event

    writer.add_event(Event(wall_time=wall_time, step=step, summary=summary))


def _scalars(values: dict[str, float]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _session_start(study: Study, trial: Trial, outcome: Outcome, began: float) -> Any:
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(start_time_secs=began)
    info.hparams[_status_name(study, trial.params)].string_value = _ENDS[outcome.state]
    for name, value in trial.params.items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, (int, float)):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = str(value)
    return _hparams(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def _session_end(*, failed: bool) -> Any:
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))


def _experiment(study: Study) -> Any:
    """The columns of the table: every parameter there can be, and the objectives."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    experiment = api_pb2.Experiment(name=study.name, time_created_secs=time.time())
    status = experiment.hparam_infos.add(name=_status_name(study), type=api_pb2.DATA_TYPE_STRING, differs=True)
    status.domain_discrete.extend(_ENDS.values())
    shown = _shown(study)
    for name, row in study.rows.searched.items():
        kind = api_pb2.DATA_TYPE_FLOAT64
        if isinstance(row, Categorical) and not all(type(choice) in (int, float) for choice in row.choices):
            all_bool = all(isinstance(choice, bool) for choice in row.choices)
            kind = api_pb2.DATA_TYPE_BOOL if all_bool else api_pb2.DATA_TYPE_STRING
        for each in _names(study, name, row.repeat):
            info = experiment.hparam_infos.add(name=each, type=kind, differs=each in shown)
            if kind != api_pb2.DATA_TYPE_FLOAT64:  # without its choices TensorBoard offers no filter, and complains
                assert isinstance(row, Categorical)
                info.domain_discrete.extend(row.choices if kind == api_pb2.DATA_TYPE_BOOL else map(str, row.choices))
    for metric in study.objectives:
        experiment.metric_infos.add(name=api_pb2.MetricName(tag=f"objective/{metric}"), display_name=metric)
    return _hparams(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _status_name(study: Study, params: Iterable[str] = ()) -> str:
    """`status`, where no parameter is called that."""
    return "trial_status" if "status" in {*study.rows.searched, *params} else "status"


def _shown(study: Study) -> set[str]:
    """The columns that fit beside the status."""
    rows = study.rows.searched
    wanted = [name for name in WANTED if name in rows]
    once = [name for name, row in rows.items() if row.repeat is None]
    each = [column for name, row in rows.items() for column in _names(study, name, row.repeat) if row.repeat]
    names = [column for name in wanted for column in _names(study, name, rows[name].repeat)]
    return set(list(dict.fromkeys([*names, *once, *each]))[: SHOWN - 1])


def _names(study: Study, name: str, repeat: str | None) -> list[str]:
    if repeat is None:
        return [name]
    count = study.rows.rows[repeat]
    return [f"{name}_{index}" for index in range(count.high if isinstance(count, Int) else count)]


def _hparams(tag: str, data: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    described = metadata.create_summary_metadata(data)
    return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])
