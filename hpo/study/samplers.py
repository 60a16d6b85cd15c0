"""Samplers as a study declares them: frozen data, and the Optuna sampler each one stands for.

Optuna does not store these with a study, so the declaration does; optuna is imported only when one is built.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.errors import StudyError
from hpo.study.declared import DeclaredOption, at_least

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from hpo.study.space import Space

__all__ = ["GP", "NSGAII", "QMC", "TPE", "CmaEs", "Grid", "Random", "Sampler", "check_grid"]

MOST_POINTS = 100_000
"""The most points of a grid: all of them are enqueued when the study is made."""


@dataclass(frozen=True)
class Sampler(DeclaredOption):
    """How the next configuration is chosen. `build` derives everything random from `seed`."""

    def build(self, space: Space, seed: int) -> BaseSampler:
        raise NotImplementedError


@dataclass(frozen=True)
class TPE(Sampler):
    """Tree-structured Parzen estimator; the first `startup_trials` are random."""

    startup_trials: int = 10

    def __post_init__(self) -> None:
        at_least("TPE", "startup_trials", self.startup_trials, 1)

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(n_startup_trials=self.startup_trials, seed=seed)


@dataclass(frozen=True)
class Random(Sampler):
    """Every row drawn independently."""

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@dataclass(frozen=True)
class Grid(Sampler):
    """Every combination once, in random order. Only for spaces whose rows have a list of values.

    The whole grid is enqueued when the study is made, so that no number of hosts or crashes can do a point twice.
    """

    def points(self, space: Space, seed: int) -> list[dict[str, Any]]:
        """Every combination as parameters, shuffled by `seed`: a search cut short has still seen every corner."""
        points = list(space.combinations())
        random.Random(seed).shuffle(points)
        return points

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)  # never asked: every trial of a grid comes from the queue


@dataclass(frozen=True)
class QMC(Sampler):
    """Quasi-random points, evenly spread: "sobol" or "halton"."""

    kind: str = "sobol"

    def __post_init__(self) -> None:
        if self.kind not in ("sobol", "halton"):
            raise StudyError(f'QMC(kind={self.kind!r}) must be "sobol" or "halton"')

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import QMCSampler

        # One scrambled sequence for the whole study: a seed of each trial's own would break the even spread.
        return QMCSampler(qmc_type=self.kind, scramble=True, seed=0, warn_independent_sampling=False)


@dataclass(frozen=True)
class CmaEs(Sampler):
    """Covariance matrix adaptation; categorical and conditional rows are drawn at random.

    A search uses hpo.sampling.cma_es, which proposes the same without the pickles that Optuna's sampler stores.
    """

    startup_trials: int = 1

    def __post_init__(self) -> None:
        at_least("CmaEs", "startup_trials", self.startup_trials, 0)

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False)


@dataclass(frozen=True)
class GP(Sampler):
    """Gaussian process. Optuna's sampler needs torch, so the coordinator loads it too (about 300 MB more)."""

    startup_trials: int = 10

    def __post_init__(self) -> None:
        at_least("GP", "startup_trials", self.startup_trials, 0)

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False)


@dataclass(frozen=True)
class NSGAII(Sampler):
    """The genetic algorithm NSGA-II, for several objectives; `population` trials make a generation."""

    population: int = 50

    def __post_init__(self) -> None:
        at_least("NSGAII", "population", self.population, 2)

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(population_size=self.population, seed=seed)


def check_grid(space: Space) -> None:
    """Raise StudyError where a row has no list of values, or there are more than MOST_POINTS combinations."""
    for name, row in space.searched.items():
        values = row.values()
        if values is None:
            instead = "give Categorical(...)" if getattr(row, "log", False) else "give Categorical(...) or a step"
            raise StudyError(f'Grid() needs listed values for "{name}": {row}', next=instead)
        if sum(1 for _ in itertools.islice(values, MOST_POINTS + 1)) > MOST_POINTS:
            raise _too_large(f'"{name}" alone has')
    if sum(1 for _ in itertools.islice(space.combinations(), MOST_POINTS + 1)) > MOST_POINTS:
        raise _too_large("the space has")


def _too_large(what: str) -> StudyError:
    return StudyError(
        f"Grid(): {what} more than {MOST_POINTS:,} combinations", next="take fewer values or larger steps, or use TPE()"
    )
