"""Does TPE find as good configurations when it is shown a part of the study? Regret on four simulated searches.

    python -m benchmarks.bounded_tpe [--trials 1200] [--shown 300] [--seeds 25] [--record]

hpo shows TPE at most hpo.sampling.observations.MOST_OTHERS of the trials that are not among the best. Here both ways
search the same spaces with the same seeds, one of them with a bound so small that it shows a part in a search of
minutes. Regret is the best possible value minus that of the best configuration found, and what is compared is its
decimal logarithm, averaged over the second half of the search: seed by seed, with a 95 % interval of the mean
difference. 0.1 is a regret a quarter larger.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
from optuna.trial import TrialState
from scipy.stats import t

from benchmarks import simulated
from benchmarks.recording import recorded
from hpo.sampling import choose
from hpo.sampling.distributions import suggest
from hpo.sampling.observations import TrialObservations
from hpo.search.open_study import directions_of
from hpo.storage.queries import Claim
from hpo.storage.study_cache import StudyCache

LEAST = 1e-9
"""A regret below this counts as this, or one lucky seed would decide."""


@dataclass(frozen=True)
class Problem:
    """How a configuration is asked for, what the trial of that number is told, and how far from the best it is."""

    ask: Callable[[optuna.trial.Trial], dict[str, Any]]
    value: Callable[[Mapping[str, Any], int], float]
    regret: Callable[[Mapping[str, Any]], float]


def _simulated(trial: optuna.trial.Trial) -> dict[str, Any]:
    rows = simulated.study.rows
    return simulated.study.resolve(rows.sample(lambda name, row: suggest(trial, name, row)))


def _exact(count: int, low: float, high: float, loss: Callable[[Mapping[str, Any]], float], *kinds: str) -> Problem:
    """`loss` of `count` numbers x0, x1, ... and, where there are `kinds`, of one of them."""

    def ask(trial: optuna.trial.Trial) -> dict[str, Any]:
        config: dict[str, Any] = {f"x{index}": trial.suggest_float(f"x{index}", low, high) for index in range(count)}
        return {**config, **({"kind": trial.suggest_categorical("kind", kinds)} if kinds else {})}

    return Problem(ask, lambda config, _: -loss(config), loss)


def _point(config: Mapping[str, Any]) -> list[float]:
    return [value for name, value in config.items() if name.startswith("x")]


def _rastrigin(config: Mapping[str, Any]) -> float:
    """Waves on a bowl: 11 hollows along each of three numbers."""
    return sum(x * x + 10 - 10 * math.cos(2 * math.pi * x) for x in (each - 0.7 for each in _point(config)))


def _rosenbrock(config: Mapping[str, Any]) -> float:
    """A bent valley."""
    point = _point(config)
    return sum(100 * (y - x * x) ** 2 + (1 - x) ** 2 for x, y in pairwise(point))


def _bowls(config: Mapping[str, Any]) -> float:
    """A bowl for each of four choices, in other places and of other depths, along four numbers of unequal weight."""
    kind = "abcd".index(config["kind"])
    centre = [0.15 + 0.2 * ((kind + index) % 4) for index in range(4)]
    return 0.02 * kind + sum((x - c) ** 2 / 4**index for index, (x, c) in enumerate(zip(_point(config), centre)))  # noqa: B905


PROBLEMS = {
    "simulated": Problem(
        _simulated,
        lambda config, number: simulated.value(config, simulated.EPOCHS, number),
        lambda config: simulated.BEST - simulated.final(config),
    ),
    "rastrigin": _exact(3, -5.12, 5.12, _rastrigin),
    "rosenbrock": _exact(3, -2.0, 2.0, _rosenbrock),
    "bowls": _exact(4, 0.0, 1.0, _bowls, "a", "b", "c", "d"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1200)
    parser.add_argument("--shown", type=int, default=300, help="trials that are not among the best, at most")
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--record", action="store_true", help="write records/DATE-bounded_tpe.md")
    options = parser.parse_args()
    with recorded("bounded_tpe", "TPE shown a part of the study", options.record):
        print(f"log10 of the regret over trials {options.trials // 2} to {options.trials}, {options.seeds} seeds")
        print(f"{'':>12}{'all shown':>12}{f'{options.shown} shown':>12}{'difference':>12}   95 %")
        every: list[float] = []
        for name, problem in PROBLEMS.items():
            found = [
                [_log_regret(problem, seed, options.trials, shown) for shown in (options.trials, options.shown)]
                for seed in range(options.seeds)
            ]
            every += _sum_up(name, found)
        print(f"{'together':>12}{'':>24}{_interval(every)}")


def _sum_up(name: str, found: Sequence[Sequence[float]]) -> list[float]:
    """The differences."""
    differences = [part - every for every, part in found]
    better = sum(each < 0 for each in differences)
    every, part = (fmean(column) for column in zip(*found, strict=True))
    told = f"{_interval(differences)}   a part is better on {better} of {len(found)} seeds"
    print(f"{name:>12}{every:>12.3f}{part:>12.3f}{told}", flush=True)
    return differences


def _interval(differences: Sequence[float]) -> str:
    wide = float(t.ppf(0.975, len(differences) - 1)) * stdev(differences) / math.sqrt(len(differences))
    return f"{fmean(differences):>12.3f} +- {wide:.3f}"


def _log_regret(problem: Problem, seed: int, trials: int, shown: int) -> float:
    """Of a search that tells each trial before it asks for the next."""
    study = replace(simulated.study, seed=seed)
    cache = StudyCache(0, study.name, directions_of(study))
    with patch.object(choose, "TrialObservations", lambda *known: TrialObservations(*known, most_others=shown)):
        sampling = choose.Sampling(study, cache)
    regrets = []
    for number in range(trials):
        cache.start(Claim(number, number, 1, None, True))
        view = optuna.Study(study_name=study.name, storage=cache, sampler=sampling.sampler(number))
        trial = optuna.trial.Trial(view, number)
        config = problem.ask(trial)
        cache.set_trial_state_values(number, TrialState.COMPLETE, [problem.value(config, number)])
        regrets.append(problem.regret(config))
    least = np.maximum(np.minimum.accumulate(regrets), LEAST)
    return float(np.log10(least[trials // 2 :]).mean())


if __name__ == "__main__":
    main()
