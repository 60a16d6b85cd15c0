"""Peers that know no conditions: each configuration has a value for every row, and what is not active goes unread."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks.methods.setting import Setting
from benchmarks.methods.simulator import Job, Observation
from hpo.study.parameters import Categorical, Float, Int, Parameter
from hpo.study.space import Space

__all__ = ["PriorBand", "SyneTune"]


class PriorBand:
    """NePS's PriorBand (Hyperband with eta 3); the baseline is a prior of low confidence, and trained whole first."""

    def __init__(self, setting: Setting) -> None:
        import neps
        import torch

        for seed in (random.seed, np.random.seed, torch.manual_seed):  # NePS draws from all of these
            seed(setting.seed)
        self._neps, self._problem = neps, setting.problem
        problem = setting.problem
        rows = {name: self._row(name, row) for name, row in _flat(problem.space).items()}
        first = max(1, problem.epochs // 26)
        epochs = neps.HPOInteger(lower=first, upper=problem.epochs, is_fidelity=True)
        space = neps.SearchSpace({**rows, "epochs": epochs})
        found = neps.algorithms.priorband(space, sample_prior_first="highest_fidelity")
        self._asking = neps.AskAndTell(found)
        self._numbers: dict[str, int] = {}
        self._reached: dict[int, int] = {}
        self._told: dict[int, float] = {}
        self._asked: dict[int, tuple[Any, int]] = {}

    def ask(self) -> Job:
        while True:
            trial = self._asking.ask()
            number = self._numbers.setdefault(trial.metadata.id.split("_")[0], len(self._numbers))
            until = int(trial.config["epochs"])
            if until > self._reached.get(number, 0):
                self._asked[number] = trial, until
                return Job(number, _configuration(self._problem.space, trial.config), until)
            self._asking.tell(trial, self._told[number])  # of a rung that it has passed already

    def observe(self, seen: Observation) -> bool:
        trial, until = self._asked[seen.trial]
        if seen.failure:
            self._asking.tell(trial, 0.0)
            return False
        self._reached[seen.trial] = seen.epoch
        self._told[seen.trial] = min(self._told.get(seen.trial, 0.0), -seen.value)
        if seen.epoch == until:
            self._asking.tell(trial, self._told[seen.trial])
        return True

    def _row(self, name: str, row: Parameter) -> Any:
        given = self._problem.baseline.get(name)
        prior = {} if given is None else {"prior": given, "prior_confidence": "low"}
        if isinstance(row, Categorical):
            place = {} if given is None else {"prior": str(row.choices.index(given)), "prior_confidence": "low"}
            return self._neps.HPOCategorical([str(place) for place in range(len(row.choices))], **place)
        assert isinstance(row, Int | Float)
        kind = self._neps.HPOInteger if isinstance(row, Int) else self._neps.HPOFloat
        return kind(lower=row.low, upper=row.high, log=row.log, **prior)


class SyneTune:
    """syne-tune's BOHB: asynchronous successive halving (rungs by 3) with proposals by kernel densities."""

    def __init__(self, setting: Setting) -> None:
        from syne_tune import config_space as kinds
        from syne_tune.optimizer.baselines import BOHB

        self._problem = setting.problem
        flat, baseline = _flat(setting.problem.space), setting.problem.baseline
        rows = {name: _kind(kinds, row) for name, row in flat.items()}
        first = {name: _label(row, baseline[name]) if name in baseline else _low(row) for name, row in flat.items()}
        self._scheduler = BOHB(
            rows, metric="value", time_attr="epoch", max_t=setting.problem.epochs, do_minimize=False,
            random_seed=setting.seed, points_to_evaluate=[first],
        )  # fmt: skip
        self._trials: dict[int, Any] = {}

    def ask(self) -> Job:
        from syne_tune.backend.trial_status import Trial

        found = self._scheduler.suggest()
        number = len(self._trials)
        self._trials[number] = trial = Trial(number, found.config, datetime.now(UTC))
        self._scheduler.on_trial_add(trial)
        return Job(number, _configuration(self._problem.space, found.config), self._problem.epochs)

    def observe(self, seen: Observation) -> bool:
        trial = self._trials[seen.trial]
        if seen.failure:
            self._scheduler.on_trial_error(trial)
            return False
        told = {"value": seen.value, "epoch": seen.epoch}
        if seen.epoch == self._problem.epochs:
            self._scheduler.on_trial_complete(trial, told)
            return False
        decision: str = self._scheduler.on_trial_result(trial, told)
        return decision == "CONTINUE"


def _flat(space: Space) -> dict[str, Parameter]:
    """A row for every parameter that any configuration can have."""
    found: dict[str, Parameter] = {}
    for name, row in space.searched.items():
        count = space.rows[row.repeat] if row.repeat is not None else None
        most = count.high if isinstance(count, Int) else count
        found |= {f"{name}_{place}": row for place in range(most)} if most is not None else {name: row}
    return found


def _configuration(space: Space, flat: Mapping[str, Any]) -> dict[str, Any]:
    rows = _flat(space)
    params = {
        name: row.choices[int(flat[name])] if isinstance(row, Categorical) else _number(row, flat[name])
        for name, row in rows.items()
    }
    return space.configuration(params)


def _number(row: Parameter, value: Any) -> int | float:
    return int(value) if isinstance(row, Int) else float(value)


def _label(row: Parameter, value: Any) -> Any:
    return str(row.choices.index(value)) if isinstance(row, Categorical) else value


def _kind(kinds: Any, row: Parameter) -> Any:
    if isinstance(row, Categorical):
        return kinds.choice([str(place) for place in range(len(row.choices))])
    assert isinstance(row, Int | Float)
    if isinstance(row, Int):
        return (kinds.lograndint if row.log else kinds.randint)(row.low, row.high)
    return (kinds.loguniform if row.log else kinds.uniform)(row.low, row.high)


def _low(row: Parameter) -> Any:
    """What an inactive row has in the baseline."""
    if isinstance(row, Categorical):
        return "0"
    assert isinstance(row, Int | Float)
    return row.low
