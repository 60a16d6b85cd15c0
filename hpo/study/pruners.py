"""Pruners as a study declares them: frozen data, and the Optuna pruner each one stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.errors import StudyError
from hpo.study.declared import OptunaOption, at_least, is_number, made_by_optuna

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

__all__ = [
    "Hyperband",
    "MedianPruner",
    "NoPruner",
    "Patient",
    "PercentilePruner",
    "Pruner",
    "SuccessiveHalving",
    "Threshold",
    "Wilcoxon",
]


@dataclass(frozen=True)
class Pruner(OptunaOption):
    """Which trials end early. `workers` is the number of slots that report at the same time.

    epochs: at most; 0 where nobody knows, of a function of the user's own
    """

    def build(self, epochs: int, workers: int) -> BasePruner:
        """Optuna's pruner. Raises StudyError for arguments that it does not take."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoPruner(Pruner):
    """Every trial runs to its end."""

    def build(self, epochs: int, workers: int) -> BasePruner:
        return _made(self, "NopPruner")


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
        return _made(
            self,
            "PercentilePruner",
            percentile=self.percentile,
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
        return _made(
            self,
            "SuccessiveHalvingPruner",
            min_resource=self.min_epochs,
            reduction_factor=self.reduction_factor,
        )


@dataclass(frozen=True)
class Hyperband(Pruner):
    """Several successive halvings with different first rungs, up to the study's epochs."""

    min_epochs: int = 1
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        at_least("Hyperband", "min_epochs", self.min_epochs, 1)
        at_least("Hyperband", "reduction_factor", self.reduction_factor, 2)

    def build(self, epochs: int, workers: int) -> BasePruner:
        return _made(
            self,
            "HyperbandPruner",
            min_resource=self.min_epochs,
            max_resource=max(epochs, self.min_epochs) if epochs else "auto",
            reduction_factor=self.reduction_factor,
        )


@dataclass(frozen=True)
class Threshold(Pruner):
    """Ends a trial whose last report is below `lower`, above `upper`, or not a number."""

    lower: float | None = None
    upper: float | None = None
    warmup_epochs: int = 0
    interval: int = 1

    def __post_init__(self) -> None:
        given = [bound for bound in (self.lower, self.upper) if bound is not None]
        if not given or not all(map(is_number, given)):
            raise StudyError(
                f"Threshold(lower={self.lower!r}, upper={self.upper!r}) has no bound that is a number",
                next="Threshold(lower=0.5, warmup_epochs=3)",
            )
        if len(given) == 2 and given[0] > given[1]:
            raise StudyError(f"Threshold(lower={self.lower!r}, upper={self.upper!r}): no value lies between these")
        at_least("Threshold", "warmup_epochs", self.warmup_epochs, 0)
        at_least("Threshold", "interval", self.interval, 1)

    def build(self, epochs: int, workers: int) -> BasePruner:
        # Epochs count from 1, Optuna's warm-up steps from 0.
        return _made(
            self, "ThresholdPruner", lower=self.lower, upper=self.upper, n_warmup_steps=self.warmup_epochs + 1,
            interval_steps=self.interval,
        )  # fmt: skip


@dataclass(frozen=True)
class Patient(Pruner):
    """Ends a trial only where `pruner` would, and only after `patience` epochs without a gain of `min_delta`.

    pruner: None ends it for the lack of a gain alone
    """

    pruner: Pruner | None = field(default_factory=MedianPruner)
    patience: int = 3
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.pruner is not None and (not isinstance(self.pruner, Pruner) or isinstance(self.pruner, Patient)):
            raise StudyError(
                f"Patient(pruner={self.pruner}) is no other pruner", next="Patient(MedianPruner(), patience=3)"
            )
        at_least("Patient", "patience", self.patience, 0)
        if not is_number(self.min_delta) or self.min_delta < 0:
            raise StudyError(f"Patient(min_delta={self.min_delta!r}) must be a number of at least 0")

    def build(self, epochs: int, workers: int) -> BasePruner:
        return self.around(self.pruner.build(epochs, workers) if self.pruner is not None else None)

    def around(self, pruner: BasePruner | None) -> BasePruner:
        """`pruner`, asked only when a trial has not got better for a while."""
        return _made(self, "PatientPruner", wrapped_pruner=pruner, patience=self.patience, min_delta=self.min_delta)


@dataclass(frozen=True)
class Wilcoxon(Pruner):
    """Ends a trial that is worse than the best one beyond chance, step by step (Wilcoxon's signed-rank test).

    For an objective whose steps are equal tasks in any order (folds, instances, seeds), not epochs of one curve.
    """

    p_threshold: float = 0.1
    startup_steps: int = 2

    def __post_init__(self) -> None:
        if not is_number(self.p_threshold) or not 0.0 <= self.p_threshold <= 1.0:
            raise StudyError(f"Wilcoxon(p_threshold={self.p_threshold!r}) must lie between 0 and 1")
        at_least("Wilcoxon", "startup_steps", self.startup_steps, 0)

    def build(self, epochs: int, workers: int) -> BasePruner:
        return _made(self, "WilcoxonPruner", p_threshold=self.p_threshold, n_startup_steps=self.startup_steps)


def _made(option: Pruner, name: str, **own: Any) -> BasePruner:
    pruner: BasePruner = made_by_optuna(option, "pruners", name, **own)
    return pruner
