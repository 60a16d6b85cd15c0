"""A run of the tracker's for each trial: told once, ended with its trial, and waiting only while its trial waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo import Objective, Study
from hpo.errors import UsageError
from hpo.result import Result
from hpo.search import trackers
from hpo.search.trackers import MLflowTracker, make_tracker

STUDY = Study(name="own", objective=Objective("train:objective", direction="minimize", metric="loss"))


class Told(MLflowTracker):
    """Keeps what MLflow would be told, and may be down."""

    def __init__(self) -> None:
        super().__init__(STUDY)
        self.heard: list[tuple[Any, ...]] = []
        self.down = False

    def _tell(self, *words: Any) -> None:
        if self.down:
            raise ConnectionError
        self.heard.append(words)

    def _begin(self, number: int) -> str:
        self._tell("begin", number)
        return f"run {number}"

    def _add_params(self, run: str, params: Mapping[str, Any]) -> None:
        self._tell("params", run, dict(params))

    def _log(self, run: str, step: int, metrics: Mapping[str, float]) -> None:
        self._tell("log", run, step, dict(metrics))

    def _end(self, run: str, state: TrialState, values: Mapping[str, float]) -> None:
        self._tell("end", run, state.name, dict(values))

    def _pause(self, run: str) -> None:
        self._tell("pause", run)


def trial(number: int, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    value = 0.5 if state is TrialState.COMPLETE else None
    made = create_trial(state=state, value=value, params={"x": 0.1}, distributions={"x": FloatDistribution(0, 1)})
    made.number = number
    return made


def test_a_run_is_told_each_parameter_and_each_metric_of_a_step_once() -> None:
    tracker = Told()
    tracker.step(0, {"x": 0.1}, 0, {"loss": 0.9})
    tracker.step(0, {"x": 0.1, "y": 2}, 0, {"loss": 0.9, "f1": 0.2})
    tracker.step(0, {"x": 0.1, "y": 2}, 0, {"loss": 0.9})
    tracker.trial_ended(trial(0), list, is_best=True)
    tracker.ended(Result("own", "trials", None, {}, (trial(0),)))
    assert tracker.heard == [
        ("begin", 0),
        ("params", "run 0", {"x": 0.1}),
        ("log", "run 0", 0, {"loss": 0.9}),
        ("params", "run 0", {"y": 2}),
        ("log", "run 0", 0, {"f1": 0.2}),
        ("end", "run 0", "COMPLETE", {"objective/loss": 0.5}),
    ]


def test_a_trial_that_ended_while_the_tracker_was_down_does_not_wait_for_another_run() -> None:
    tracker = Told()
    for number in range(2):
        tracker.step(number, {"x": 0.1}, 0, {})
    tracker.down = True
    with pytest.raises(ConnectionError):
        tracker.trial_ended(trial(0), list, is_best=False)
    tracker.down, tracker.heard = False, []
    tracker.ended(Result("own", "deadline", None, {}, (trial(0), trial(1, TrialState.WAITING), trial(2))))
    assert tracker.heard == [("end", "run 0", "COMPLETE", {"objective/loss": 0.5}), ("pause", "run 1")]


def test_a_run_that_ends_by_an_error_leaves_no_trial_running_there() -> None:
    tracker = Told()
    tracker.step(0, {}, 0, {"loss": 0.5})
    tracker.failed(OSError())
    assert tracker.heard[-1] == ("pause", "run 0")


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="--tracker wandb needs wandb") as refused:
        make_tracker("wandb", STUDY)
    assert refused.value.next == "pip install 'hpo[wandb]'"
