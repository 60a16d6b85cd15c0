"""Pruners as a study declares them: frozen data, and the Optuna pruner each one stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo.errors import StudyError
from hpo.study.declared import DeclaredOption, at_least, is_number

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

__all__ = ["Hyperband", "MedianPruner", "NoPruner", "PercentilePruner", "Pruner", "SuccessiveHalving"]


@dataclass(frozen=True)
class Pruner(DeclaredOption):
    """Which trials end early. `workers` is the number of slots that report at the same time.

    epochs: at most; 0 where nobody knows, of a function of the user's own
    """

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
    """Ends a trial whose best value so far is not in the top `percentile` of earlier trials at the same epoch.

    The first `warmup_epochs` epochs of a trial are never its last.
    """

    percentile: float = 50.0
    startup_trials: int = 5
    warmup_epochs: int = 1
    interval: int = 1
    min_trials: int = 3

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not is_number(self.percentile) or not 0.0 < self.percentile < 100.0:
            raise StudyError(f"{name}(percentile={self.percentile!r}) must lie between 0 and 100")
        for field_name, least in (("startup_trials", 0), ("warmup_epochs", 0), ("interval", 1), ("min_trials", 1)):
            at_least(name, field_name, getattr(self, field_name), least)

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import PercentilePruner as OptunaPercentilePruner

        return OptunaPercentilePruner(
            self.percentile,
            n_startup_trials=self.enough_trials(workers),
            n_warmup_steps=self.first_step,
            interval_steps=self.interval,
            n_min_trials=self.min_trials,
        )

    @property
    def first_step(self) -> int:
        """The first step at which a trial may be pruned. Epochs count from 1, Optuna's warm-up steps from 0."""
        return self.warmup_epochs + 1

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
        at_least("SuccessiveHalving", "min_epochs", self.min_epochs, 1)
        at_least("SuccessiveHalving", "reduction_factor", self.reduction_factor, 2)

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.min_epochs, reduction_factor=self.reduction_factor)


@dataclass(frozen=True)
class Hyperband(Pruner):
    """Several successive halvings with different first rungs, up to the study's epochs."""

    min_epochs: int = 1
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        at_least("Hyperband", "min_epochs", self.min_epochs, 1)
        at_least("Hyperband", "reduction_factor", self.reduction_factor, 2)

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(
            min_resource=self.min_epochs,
            max_resource=max(epochs, self.min_epochs) if epochs else "auto",
            reduction_factor=self.reduction_factor,
        )
