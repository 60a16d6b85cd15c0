"""Samplers and pruners as a study declares them: frozen data, and the Optuna object each one stands for.

Optuna does not store these with a study, so the declaration does; optuna is imported only when one is built.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hpo.errors import StudyError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from hpo.space import Space

__all__ = [
    "GP",
    "QMC",
    "TPE",
    "CmaEs",
    "Grid",
    "Hyperband",
    "MedianPruner",
    "NoPruner",
    "PercentilePruner",
    "Pruner",
    "Random",
    "Sampler",
    "SuccessiveHalving",
]


@dataclass(frozen=True)
class _Declared:
    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in fields(self))})"


@dataclass(frozen=True)
class Sampler(_Declared):
    """How the next configuration is chosen. `build` derives everything random from `seed`."""

    def build(self, space: Space, seed: int) -> BaseSampler:
        raise NotImplementedError


@dataclass(frozen=True)
class TPE(Sampler):
    """Tree-structured Parzen estimator; the first `startup_trials` are random."""

    startup_trials: int = 10

    def __post_init__(self) -> None:
        _at_least("TPE", "startup_trials", self.startup_trials, 1)

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

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False)


@dataclass(frozen=True)
class GP(Sampler):
    """Gaussian process. Optuna's needs torch, so the coordinator loads it too (about 300 MB more)."""

    startup_trials: int = 10

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.startup_trials, seed=seed, warn_independent_sampling=False)


@dataclass(frozen=True)
class Pruner(_Declared):
    """Which trials end early. `workers` is the number of slots that report at the same time."""

    def build(self, epochs: int, workers: int) -> BasePruner:
        raise NotImplementedError


@dataclass(frozen=True)
class NoPruner(Pruner):
    """Every trial runs to its end."""

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import NopPruner

        return NopPruner()


@dataclass(frozen=True)
class PercentilePruner(Pruner):
    """Ends a trial whose best value so far is not in the top `percentile` of earlier trials at the same epoch."""

    percentile: float = 50.0
    startup_trials: int = 5
    warmup_epochs: int = 1
    interval: int = 1
    min_trials: int = 3

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not 0.0 < self.percentile < 100.0:
            raise StudyError(f"{name}(percentile={self.percentile}) must lie between 0 and 100")
        for field_name, least in (("startup_trials", 0), ("warmup_epochs", 0), ("interval", 1), ("min_trials", 1)):
            _at_least(name, field_name, getattr(self, field_name), least)

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import PercentilePruner as OptunaPercentilePruner

        return OptunaPercentilePruner(
            self.percentile,
            n_startup_trials=self.enough_trials(workers),
            n_warmup_steps=self.warmup_epochs,
            interval_steps=self.interval,
            n_min_trials=self.min_trials,
        )

    def enough_trials(self, workers: int) -> int:
        """Completed trials before anything is pruned."""
        # With several slots the first finishers are the short runs: wait for a fair sample.
        return max(self.startup_trials, 2 * workers)


@dataclass(frozen=True)
class MedianPruner(PercentilePruner):
    """Ends a trial whose best value so far is worse than the median of earlier trials at the same epoch."""


@dataclass(frozen=True)
class SuccessiveHalving(Pruner):
    """Asynchronous successive halving: rungs at min_epochs x reduction_factor^k."""

    min_epochs: int = 1
    reduction_factor: int = 4

    def __post_init__(self) -> None:
        _at_least("SuccessiveHalving", "min_epochs", self.min_epochs, 1)
        _at_least("SuccessiveHalving", "reduction_factor", self.reduction_factor, 2)

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.min_epochs, reduction_factor=self.reduction_factor)


@dataclass(frozen=True)
class Hyperband(Pruner):
    """Several successive halvings with different first rungs, up to the study's epochs."""

    min_epochs: int = 1
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        _at_least("Hyperband", "min_epochs", self.min_epochs, 1)
        _at_least("Hyperband", "reduction_factor", self.reduction_factor, 2)

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(
            min_resource=self.min_epochs,
            max_resource=max(epochs, self.min_epochs),
            reduction_factor=self.reduction_factor,
        )


def grid_values(space: Space) -> dict[str, list[Any]]:
    """Each searched row with its values; StudyError where a row has no finite list of them."""
    from hpo.parameters import Categorical, Float, Int

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


def _at_least(owner: str, name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise StudyError(f"{owner}({name}={value!r}) must be a whole number of at least {least}")
