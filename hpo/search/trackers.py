"""`--tracker mlflow` and `--tracker wandb`: a run of the tracker's for each trial, with params, metrics and outcome.

What this host trains is tracked here. The database stays the record: a tracker that is down costs its own entries.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.errors import UsageError, near_miss
from hpo.result import Result
from hpo.search.listening import Listener
from hpo.storage.optuna_schema import STATES
from hpo.study.study import Study

__all__ = ["TRACKERS", "make_tracker"]


class _Tracker(Listener):
    """Begins a trial's run with the first event of the trial, and ends it with the trial."""

    pause_seconds = 60.0
    patience_seconds = 30.0
    package = ""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._uid = ""
        self._runs: dict[int, Any] = {}
        self._given: dict[int, set[str]] = {}  # by trial: names of parameters that its run has
        self._told: dict[int, set[tuple[int, str]]] = {}  # and steps and names of its metrics

    def opened(self, study: str, uid: str) -> None:
        self._uid = uid

    def step(self, number: int, params: Mapping[str, Any], step: int, metrics: Mapping[str, float]) -> None:
        run = self._run(number, params)
        told = self._told.setdefault(number, set())  # a step may be told again, with more metrics than before
        new = {name: value for name, value in metrics.items() if (step, name) not in told}
        if new:
            self._log(run, step, new)
            told |= {(step, name) for name in new}

    def trial_ended(self, trial: FrozenTrial, trials: Callable[[], Sequence[FrozenTrial]], *, is_best: bool) -> None:
        self._end_run(trial)

    def ended(self, result: Result) -> None:
        for trial in [one for one in result.frozen if one.number in self._runs]:
            if trial.state.is_finished():  # and the tracker did not answer when it ended
                self._end_run(trial)
        self._pause_runs()

    def failed(self, error: BaseException) -> None:
        self._pause_runs()

    def described(self, error: BaseException) -> str:
        seconds = f"{self.pause_seconds:.0f} s"
        return f"{self.name} does not answer ({type(error).__name__}): tried again every {seconds}; the run goes on"

    def _run(self, number: int, params: Mapping[str, Any]) -> Any:
        if number not in self._runs:
            self._runs[number] = self._begin(number)
        given = self._given.setdefault(number, set())
        new = {name: value for name, value in params.items() if name not in given}
        if new:
            self._add_params(self._runs[number], new)
            given.update(new)
        return self._runs[number]

    def _end_run(self, trial: FrozenTrial) -> None:
        run = self._run(trial.number, trial.params)
        values = dict(zip(self._study.objectives, trial.values or (), strict=False))
        self._end(run, trial.state, {f"objective/{name}": value for name, value in values.items()})
        self._runs.pop(trial.number)
        self._given.pop(trial.number, None)
        self._told.pop(trial.number, None)

    def _pause_runs(self) -> None:
        for run in self._runs.values():  # of trials that wait for another run
            self._pause(run)

    def _begin(self, number: int) -> Any:
        """A new run, or that of an earlier attempt."""
        raise NotImplementedError

    def _add_params(self, run: Any, params: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _log(self, run: Any, step: int, metrics: Mapping[str, float]) -> None:
        raise NotImplementedError

    def _end(self, run: Any, state: TrialState, values: Mapping[str, float]) -> None:
        raise NotImplementedError

    def _pause(self, run: Any) -> None:
        raise NotImplementedError


class MLflowTracker(_Tracker):
    """Where MLFLOW_TRACKING_URI says, else mlflow.db in the working folder; an experiment with the study's name."""

    name = "MLflow"
    package = "mlflow"

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self._client: Any = None
        self._experiment = ""

    def _connect(self) -> None:
        # MLflow tries for many minutes by itself; this thread comes back to it instead.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))
        found = client.get_experiment_by_name(self._study.name)
        if found is None:
            try:
                made = client.create_experiment(self._study.name)
            except MlflowException:  # another host was faster
                found = client.get_experiment_by_name(self._study.name)
                if found is None:
                    raise
        self._experiment = found.experiment_id if found is not None else made
        self._client = client

    def _begin(self, number: int) -> str:
        from mlflow.entities import RunStatus

        if self._client is None:
            self._connect()
        tags = {"hpo.study": self._uid, "hpo.trial": str(number)}
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        before = self._client.search_runs([self._experiment], filter_string=wanted, max_results=1)
        if before:
            self._client.update_run(before[0].info.run_id, status=RunStatus.to_string(RunStatus.RUNNING))
            return str(before[0].info.run_id)
        return str(self._client.create_run(self._experiment, run_name=f"trial {number}", tags=tags).info.run_id)

    def _add_params(self, run: str, params: Mapping[str, Any]) -> None:
        for name, value in params.items():
            self._client.log_param(run, _mlflow_name(name), str(value)[:500])

    def _log(self, run: str, step: int, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(run, [Metric(_mlflow_name(name), value, now, step) for name, value in metrics.items()])

    def _end(self, run: str, state: TrialState, values: Mapping[str, float]) -> None:
        if values:
            self._log(run, 0, values)
        self._client.set_tag(run, "hpo.state", STATES[state])
        ended = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}
        self._client.set_terminated(run, ended.get(state, "FAILED"))

    def _pause(self, run: str) -> None:
        self._client.update_run(run, status="SCHEDULED")


def _mlflow_name(name: str) -> str:
    """MLflow takes letters, digits and these."""
    return re.sub(r"[^\w\-. :/]", "_", name)


class _NoKey(Exception):
    """Nobody is logged in. Left to itself, W&B would ask on the terminal."""


class WandbTracker(_Tracker):
    """As `wandb login`, WANDB_MODE and the other variables of W&B say; a project with the study's name."""

    name = "W&B"
    package = "wandb"

    def described(self, error: BaseException) -> str:
        if isinstance(error, _NoKey):
            return "W&B has no API key: `wandb login`, or WANDB_MODE=offline; the run goes on without it"
        return super().described(error)

    def _begin(self, number: int) -> Any:
        import wandb

        if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.login(prompt=False):
            raise _NoKey
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", re.sub(r"[/\\#?%:]", "_", self._study.name)),
            name=f"trial {number}", id=f"{self._uid}-{number}", resume="allow", reinit="create_new",
            # Quiet, and with no eye on this process: it is the coordinator, which trains nothing.
            settings=wandb.Settings(
                silent=True, console="off", x_disable_stats=True, x_disable_meta=True, disable_code=True,
                disable_git=True, init_timeout=20,
            ),
        )  # fmt: skip

    def _add_params(self, run: Any, params: Mapping[str, Any]) -> None:
        run.config.update(dict(params), allow_val_change=True)

    def _log(self, run: Any, step: int, metrics: Mapping[str, float]) -> None:
        run.log(dict(metrics), step=step)

    def _end(self, run: Any, state: TrialState, values: Mapping[str, float]) -> None:
        run.summary.update({**values, "state": STATES[state]})
        run.finish(exit_code=1 if state is TrialState.FAIL else 0)

    def _pause(self, run: Any) -> None:
        run.summary["state"] = "waiting"
        run.finish()


TRACKERS: dict[str, type[_Tracker]] = {"mlflow": MLflowTracker, "wandb": WandbTracker}
"""What --tracker may name."""


def make_tracker(name: str, study: Study) -> Listener:
    """UsageError for an unknown tracker, and for one whose package is missing."""
    if name not in TRACKERS:
        raise UsageError(f'--tracker "{name}"', evidence=[near_miss(name, TRACKERS)])
    if find_spec(TRACKERS[name].package) is None:
        raise UsageError(f"--tracker {name} needs {TRACKERS[name].package}", next=f"pip install 'hpo[{name}]'")
    return TRACKERS[name](study)
