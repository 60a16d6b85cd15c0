"""Samplers as a study declares them: frozen data, and the Optuna sampler each one stands for.

Optuna does not store these with a study, so the declaration does; optuna is imported only when one is built.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.errors import StudyError
from hpo.study.declared import OptunaOption, at_least, made_by_optuna

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from hpo.study.space import Space

__all__ = [
    "GP",
    "NSGAII",
    "NSGAIII",
    "QMC",
    "TPE",
    "BruteForce",
    "CmaEs",
    "Fixed",
    "Grid",
    "Random",
    "Sampler",
    "check_sampler",
]

MOST_POINTS = 100_000
"""The most points of a grid: all of them are enqueued when the study is made."""


@dataclass(frozen=True)
class Sampler(OptunaOption):
    """How the next configuration is chosen. `build` derives everything random from `seed`."""

    def build(self, space: Space, seed: int) -> BaseSampler:
        """Optuna's sampler. Raises StudyError for arguments that it does not take."""
        raise NotImplementedError


@dataclass(frozen=True)
class TPE(Sampler):
    """Tree-structured Parzen estimator; the first `startup_trials` are random."""

    startup_trials: int = 10

    def __post_init__(self) -> None:
        at_least("TPE", "startup_trials", self.startup_trials, 1)

    def build(self, space: Space, seed: int) -> BaseSampler:
        return _made(self, "TPESampler", n_startup_trials=self.startup_trials, seed=seed)


@dataclass(frozen=True)
class Random(Sampler):
    """Every row drawn independently."""

    def build(self, space: Space, seed: int) -> BaseSampler:
        return _made(self, "RandomSampler", seed=seed)


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
        return _made(self, "RandomSampler", seed=seed)  # never asked: every trial of a grid comes from the queue


@dataclass(frozen=True)
class QMC(Sampler):
    """Quasi-random points, evenly spread: "sobol" or "halton"."""

    kind: str = "sobol"

    def __post_init__(self) -> None:
        if self.kind not in ("sobol", "halton"):
            raise StudyError(f'QMC(kind={self.kind!r}) must be "sobol" or "halton"')

    def build(self, space: Space, seed: int) -> BaseSampler:
        # One scrambled sequence for the whole study: a seed of each trial's own would break the even spread.
        return _made(self, "QMCSampler", qmc_type=self.kind, scramble=True, seed=0, warn_independent_sampling=False)


@dataclass(frozen=True)
class CmaEs(Sampler):
    """Covariance matrix adaptation; categorical and conditional rows are drawn at random.

    A search uses hpo.sampling.cma_es, which proposes the same without the pickles that Optuna's sampler stores, and
    takes no arguments.
    """

    startup_trials: int = 1

    def __post_init__(self) -> None:
        at_least("CmaEs", "startup_trials", self.startup_trials, 0)
        if self.arguments:
            raise StudyError(
                "CmaEs takes no arguments: hpo rebuilds its state from the trials, in the way that Optuna's defaults go"
            )

    def build(self, space: Space, seed: int) -> BaseSampler:
        return _made(
            self, "CmaEsSampler", n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False
        )


@dataclass(frozen=True)
class GP(Sampler):
    """Gaussian process. Optuna's sampler needs torch, so the coordinator loads it too (about 300 MB more)."""

    startup_trials: int = 10

    def __post_init__(self) -> None:
        at_least("GP", "startup_trials", self.startup_trials, 0)

    def build(self, space: Space, seed: int) -> BaseSampler:
        return _made(
            self, "GPSampler", n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False
        )


@dataclass(frozen=True)
class NSGAII(Sampler):
    """The genetic algorithm NSGA-II, for several objectives; `population` trials make a generation."""

    population: int = 50

    def __post_init__(self) -> None:
        at_least("NSGAII", "population", self.population, 2)

    def build(self, space: Space, seed: int) -> BaseSampler:
        return _made(self, "NSGAIISampler", population_size=self.population, seed=seed)


@dataclass(frozen=True)
class NSGAIII(Sampler):
    """NSGA-III, for three objectives or more; `population` trials make a generation."""

    population: int = 50

    def __post_init__(self) -> None:
        at_least("NSGAIII", "population", self.population, 2)

    def build(self, space: Space, seed: int) -> BaseSampler:
        return _made(self, "NSGAIIISampler", population_size=self.population, seed=seed)


@dataclass(frozen=True)
class BruteForce(Sampler):
    """Every combination that a function of your own can ask for, once each; for declared rows there is Grid().

    Hosts that begin trials in the same moment may meet in a combination now and then.
    """

    def build(self, space: Space, seed: int) -> BaseSampler:
        return _made(self, "BruteForceSampler", seed=seed)


@dataclass(frozen=True)
class Fixed(Sampler):
    """Some parameters held at a value, the others proposed by `sampler`: Fixed({"lr": 1e-3}, TPE())."""

    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    sampler: Sampler = field(default_factory=TPE)

    def __post_init__(self) -> None:
        if not isinstance(self.params, Mapping) or not self.params:
            raise StudyError(f"Fixed({self.params!r}) fixes nothing", next='Fixed({"lr": 1e-3}, TPE())')
        if not isinstance(self.sampler, Sampler) or isinstance(self.sampler, Grid | BruteForce | Fixed):
            raise StudyError(
                f"Fixed(..., {self.sampler}) has no sampler that proposes the other parameters",
                next=f"Fixed({dict(self.params)!r}, TPE())",
            )

    def build(self, space: Space, seed: int) -> BaseSampler:
        return self.around(self.sampler.build(space, seed), space)

    def around(self, sampler: BaseSampler, space: Space) -> BaseSampler:
        """`sampler`, with the fixed parameters left out of what it proposes."""
        params = space.parameters(self.params, what="Fixed(...)", complete=False) if space.rows else dict(self.params)
        return _made(self, "PartialFixedSampler", fixed_params=params, base_sampler=sampler)


def _made(option: Sampler, name: str, **own: Any) -> BaseSampler:
    sampler: BaseSampler = made_by_optuna(option, "samplers", name, **own)
    return sampler


def check_sampler(sampler: Sampler, space: Space) -> None:
    """Raise StudyError for a sampler that cannot search these rows."""
    if isinstance(sampler, Grid):
        _check_grid(space)
    if isinstance(sampler, BruteForce):
        raise StudyError(
            "BruteForce() is for a function of your own that suggests as it goes, and these rows are declared",
            next="sampler=Grid(), which tries every combination once, whatever dies meanwhile",
        )
    if isinstance(sampler, Fixed):
        space.parameters(sampler.params, what="Fixed(...)", complete=False)


def _check_grid(space: Space) -> None:
    """A row has no list of values, there are more than MOST_POINTS combinations, or one is believed in."""
    for name, row in space.searched.items():
        if row.belief is not None:
            raise StudyError(
                f'Grid() tries every combination, so what is believed of "{name}" changes nothing: {row.belief}',
                next="leave out the prior, or Grid()",
            )
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
