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

__all__ = ["GP", "QMC", "TPE", "CmaEs", "Grid", "Random", "Sampler", "grid_values"]


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
    """Every combination once, in shuffled order. Only for spaces of listed values without conditions.

    The whole grid is enqueued when the study is made, so that no number of hosts or crashes can do a point twice.
    """

    def points(self, space: Space, seed: int) -> list[dict[str, Any]]:
        """Every combination as parameters, shuffled by `seed`: a search cut short has still seen every corner."""
        values = grid_values(space)
        points = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
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
    """Covariance matrix adaptation; categorical and conditional rows are drawn at random."""

    startup_trials: int = 1

    def __post_init__(self) -> None:
        at_least("CmaEs", "startup_trials", self.startup_trials, 0)

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False)


@dataclass(frozen=True)
class GP(Sampler):
    """Gaussian process. Optuna's needs torch, so the coordinator loads it too (about 300 MB more)."""

    startup_trials: int = 10

    def __post_init__(self) -> None:
        at_least("GP", "startup_trials", self.startup_trials, 0)

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False)


def grid_values(space: Space) -> dict[str, list[Any]]:
    """Each searched row with its values; StudyError where a row has no finite list of them."""
    from hpo.study.parameters import Categorical, Float, Int

    values: dict[str, list[Any]] = {}
    for name, row in space.searched.items():
        if row.repeat or row.conditions:
            raise StudyError(f'Grid() cannot walk "{name}": {row}', next="use TPE(), or a space without .per and .when")
        if isinstance(row, Categorical):
            values[name] = list(row.choices)
        elif isinstance(row, Int) and not row.log:
            values[name] = list(range(row.low, row.high + 1, row.step))
        elif isinstance(row, Float) and row.step is not None:
            values[name] = [row.low + index * row.step for index in range(round((row.high - row.low) / row.step) + 1)]
        else:
            raise StudyError(f'Grid() needs listed values for "{name}": {row}', next="give Categorical(...) or a step")
    return values
