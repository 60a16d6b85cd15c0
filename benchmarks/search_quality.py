"""Does hpo's way of asking find as good configurations as stock Optuna's? Regret on a simulated search, many seeds.

    python -m benchmarks.search_quality [--short] [--seeds 30] [--trials 200] [--slots 1 2 8]

Regret is the best possible final value minus that of the best configuration found. The same space, sampler, pruner and
learning curves both ways. hpo asks ahead: a trial is proposed while the slots still train, so it knows less than one
that is asked for by a free slot. `stock` asks when a slot is free, with as many trials running at a time. No database:
both in memory, in simulated time, in which an epoch of every configuration takes equally long.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from benchmarks import simulated
from benchmarks.recording import recorded
from hpo.sampling.choose import Sampling
from hpo.sampling.distributions import suggest
from hpo.sampling.pruning import make_pruner
from hpo.storage.optuna_schema import FIXED_PARAMS
from hpo.storage.queries import Claim
from hpo.storage.study_cache import StudyCache
from hpo.study.study import Study


@dataclass
class Running:
    trial_id: int
    config: Mapping[str, Any]
    epoch: int = 0
    value: float = 0.0


class Side(Protocol):
    def ask(self) -> Running: ...
    def report(self, running: Running) -> bool: ...
    def tell(self, running: Running, state: TrialState) -> None: ...


class Stock:
    """study.ask, report, should_prune, tell."""

    def __init__(self, study: Study, slots: int) -> None:
        self._study = study
        self._optuna = optuna.create_study(
            direction="maximize",
            sampler=study.sampler.build(study.rows, study.seed),
            pruner=study.pruner.build(study.epochs, slots),
        )
        self._trials: dict[int, optuna.Trial] = {}

    def ask(self) -> Running:
        trial = self._optuna.ask()
        self._trials[trial.number] = trial
        return Running(trial.number, self._study.rows.sample(lambda name, row: suggest(trial, name, row)))

    def report(self, running: Running) -> bool:
        trial = self._trials[running.trial_id]
        trial.report(running.value, running.epoch)
        return trial.should_prune()

    def tell(self, running: Running, state: TrialState) -> None:
        value = running.value if state == TrialState.COMPLETE else None
        self._optuna.tell(self._trials.pop(running.trial_id), value, state=state)


class Ours:
    """The sampling and pruning of hpo's coordinator, on its cache."""

    def __init__(self, study: Study, slots: int) -> None:
        self.study = self._study = study
        self._cache = StudyCache(0, study.name, (StudyDirection.MAXIMIZE,))
        self._sampling = Sampling(study, self._cache)
        self._pruner = make_pruner(study, self._cache, slots)
        self._view = optuna.Study(study_name=study.name, storage=self._cache)
        self._numbers = itertools.count()

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Running:
        """fixed: parameters that it was enqueued with"""
        number = next(self._numbers)
        self._cache.start(Claim(number, number, 1, None, True))
        if fixed:
            self._cache.set_trial_system_attr(number, FIXED_PARAMS, dict(fixed))
        view = optuna.Study(study_name=self._study.name, storage=self._cache, sampler=self._sampling.sampler(number))
        trial = optuna.trial.Trial(view, number)
        return Running(number, self._study.rows.sample(lambda name, row: suggest(trial, name, row)))

    def report(self, running: Running) -> bool:
        self._cache.set_trial_intermediate_value(running.trial_id, running.epoch, running.value)
        frozen: FrozenTrial = self._cache.get_trial(running.trial_id)
        return self._pruner.prune(self._view, frozen)

    def tell(self, running: Running, state: TrialState) -> None:
        self._cache.set_trial_state_values(running.trial_id, state, [running.value])
        self._cache.take_writes()

    def trials(self) -> list[FrozenTrial]:
        return self._cache.get_all_trials(0)

    def take_over(self, trials: Iterable[FrozenTrial]) -> None:
        """Begin with the trials of another search."""
        taken = list(trials)
        self._cache.apply(taken)
        self._numbers = itertools.count(len(taken))


def search(side: Side, slots: int, trials: int, ahead: int, seed: int) -> float:
    """Regret after `trials` trials, `slots` at a time, each asked for `ahead` trials before a slot is free for it."""
    best = 0.0
    asked: deque[Running] = deque()
    running: list[Running] = []
    begun = 0
    while running or begun < trials:
        while len(running) < slots and begun < trials:
            running.append(asked.popleft() if asked else side.ask())
            begun += 1
        while len(asked) < ahead and begun + len(asked) < trials:
            asked.append(side.ask())
        for each in list(running):
            each.epoch += 1
            each.value = simulated.value(each.config, each.epoch, seed * 100_003 + each.trial_id)
            if side.report(each):
                side.tell(each, TrialState.PRUNED)
            elif each.epoch == simulated.EPOCHS:
                best = max(best, simulated.final(each.config))
                side.tell(each, TrialState.COMPLETE)
            else:
                continue
            running.remove(each)
    return simulated.BEST - best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="4 seeds of 60 trials")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--record", action="store_true", help="write records/DATE-search_quality.md")
    options = parser.parse_args()
    if options.short:
        options.seeds, options.trials, options.slots = 4, 60, [2]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with recorded("search_quality", "Regret of a simulated search", options.record):
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    print(f"regret x 1000 after {options.trials} trials, {options.seeds} seeds: median, mean ± standard error")
    print(f"{'at a time':>10}{'stock':>24}{'hpo':>24}{'hpo, asking ahead':>24}   difference of the last, ± of it")
    for slots in options.slots:
        regrets: dict[str, list[float]] = {"stock": [], "hpo": [], "ahead": []}
        for seed in range(options.seeds):
            study = replace(simulated.study, seed=seed)
            regrets["stock"].append(search(Stock(study, slots), slots, options.trials, 0, seed))
            regrets["hpo"].append(search(Ours(study, slots), slots, options.trials, 0, seed))
            # The coordinator has one trial ready when trials are long, and at most one for each slot.
            regrets["ahead"].append(search(Ours(study, slots), slots, options.trials, 1, seed))
        paired = [mine - theirs for mine, theirs in zip(regrets["ahead"], regrets["stock"], strict=True)]
        cells = "".join(f"{_summary(values):>24}" for values in regrets.values())
        print(f"{slots:>10}{cells}   {1e3 * statistics.fmean(paired):+.2f} ± {1e3 * _error(paired):.2f}", flush=True)


def _summary(values: list[float]) -> str:
    return f"{1e3 * statistics.median(values):.2f}, {1e3 * statistics.fmean(values):.2f} ± {1e3 * _error(values):.2f}"


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5


if __name__ == "__main__":
    main()
