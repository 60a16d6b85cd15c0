"""Stock Optuna, random search, and successive halving that brings paused trials back, each behind one interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from benchmarks.methods.peers import PEERS
from benchmarks.methods.setting import Setting
from benchmarks.methods.simulator import Job, Observation, Way
from hpo.freeze_thaw.progress import Progress
from hpo.freeze_thaw.scheduler import Scheduler
from hpo.sampling.distributions import suggest

__all__ = ["WAYS"]


class StockOptuna:
    """study.ask, report, should_prune, tell; the baseline enqueued first. What fails for its values is infeasible."""

    def __init__(self, setting: Setting, sampler: BaseSampler, pruner: BasePruner) -> None:
        self._problem = setting.problem
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._study.enqueue_trial(dict(setting.problem.baseline))
        self._running: dict[int, optuna.Trial] = {}
        self._best: dict[int, float] = {}

    def ask(self) -> Job:
        trial = self._study.ask()
        self._running[trial.number] = trial
        self._best[trial.number] = -math.inf
        config = self._problem.space.sample(lambda name, row: suggest(trial, name, row))
        return Job(trial.number, config, self._problem.epochs)

    def observe(self, seen: Observation) -> bool:
        trial = self._running[seen.trial]
        if seen.failure:
            trial.set_constraint("failed", 1.0)
            self._end(seen.trial, TrialState.PRUNED)
            return False
        trial.report(seen.value, seen.epoch)
        self._best[seen.trial] = max(self._best[seen.trial], seen.value)
        if seen.epoch == self._problem.epochs:
            self._end(seen.trial, TrialState.COMPLETE)
        elif trial.should_prune():
            self._end(seen.trial, TrialState.PRUNED)
        return seen.trial in self._running

    def _end(self, number: int, state: TrialState) -> None:
        value = self._best.pop(number) if state == TrialState.COMPLETE else None
        self._study.tell(self._running.pop(number), value, state=state)


class Asha:
    """Asynchronous successive halving with promotion: the best third of a rung goes on, whenever there is a slot."""

    def __init__(self, setting: Setting, *, factor: int = 3) -> None:
        self._problem, self._factor = setting.problem, factor
        self._draw = optuna.samplers.RandomSampler(seed=setting.seed)
        self._study = optuna.create_study(direction="maximize", sampler=self._draw)
        self._study.enqueue_trial(dict(setting.problem.baseline))
        rungs = [1]
        while rungs[-1] * factor < setting.problem.epochs:
            rungs.append(rungs[-1] * factor)
        self._rungs = [*rungs, setting.problem.epochs]
        self._configs: list[Mapping[str, Any]] = []
        self._ended: list[dict[int, float]] = [{} for _ in self._rungs]
        self._promoted: list[set[int]] = [set() for _ in self._rungs]

    def ask(self) -> Job:
        for rung in reversed(range(len(self._rungs) - 1)):
            ended = self._ended[rung]
            best = sorted(ended, key=lambda trial: -ended[trial])[: len(ended) // self._factor]
            for trial in best:
                if trial not in self._promoted[rung]:
                    self._promoted[rung].add(trial)
                    return Job(trial, self._configs[trial], self._rungs[rung + 1])
        trial = self._study.ask()
        self._configs.append(self._problem.space.sample(lambda name, row: suggest(trial, name, row)))
        return Job(trial.number, self._configs[-1], self._rungs[0])

    def observe(self, seen: Observation) -> bool:
        if not seen.failure and seen.epoch in self._rungs:
            self._ended[self._rungs.index(seen.epoch)][seen.trial] = seen.value
        return True


def _stock(sampler: Callable[[int], BaseSampler], pruner: Callable[[Setting], BasePruner]) -> Callable[[Setting], Way]:
    return lambda setting: StockOptuna(setting, sampler(setting.seed), pruner(setting))


def _tpe(seed: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def _hyperband(setting: Setting) -> BasePruner:
    return optuna.pruners.HyperbandPruner(max_resource=setting.problem.epochs)


class Thawing:
    """hpo's own: hpo.freeze_thaw, called as a search calls it."""

    def __init__(self, setting: Setting) -> None:
        self._problem = setting.problem
        self._draw = np.random.default_rng(setting.seed)
        self._scheduler = Scheduler(setting.problem.space, setting.problem.epochs, maximize=True)
        self._trials = [Progress(0, dict(setting.problem.baseline), whole=True)]
        self._seconds = [0.0]

    def standing(self) -> dict[int, Sequence[float]]:
        """The values so far of each trial that has any."""
        return {trial.number: trial.values for trial in self._trials if trial.values}

    def ask(self) -> Job:
        decision = self._scheduler.decide(self._trials, self._draw)
        assert decision is not None  # there is no deadline
        number = decision.number
        if number is None:
            number = len(self._trials)
            self._trials.append(Progress(number, decision.params))
            self._seconds.append(0.0)
        self._trials[number] = replace(self._trials[number], until=decision.until)
        return Job(number, self._problem.space.configuration(decision.params), decision.until)

    def observe(self, seen: Observation) -> bool:
        trial = self._trials[seen.trial]
        if seen.failure:
            self._trials[seen.trial] = replace(trial, until=0, ended=True, infeasible=True)
            return False
        self._seconds[seen.trial] += seen.seconds
        self._trials[seen.trial] = replace(
            trial,
            values=(*trial.values, seen.value),
            seconds=self._seconds[seen.trial] / seen.epoch,
            until=0 if seen.epoch == trial.until else trial.until,
            ended=seen.epoch == self._problem.epochs,
        )
        return True


WAYS: dict[str, Callable[[Setting], Way]] = {
    "TPE + median": _stock(_tpe, lambda _: optuna.pruners.MedianPruner()),
    "TPE + Hyperband": _stock(_tpe, _hyperband),
    "TPE": _stock(_tpe, lambda _: optuna.pruners.NopPruner()),
    "random": _stock(lambda seed: optuna.samplers.RandomSampler(seed=seed), lambda _: optuna.pruners.NopPruner()),
    "ASHA, promoting": Asha,
    "freeze-thaw": Thawing,
    **PEERS,
}
"""Every way by its name. The first is the one that the others are compared with."""
