"""When a trial ends and what makes it feasible: the parts of a study that are neither rows nor search. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpo.errors import StudyError, near_miss
from hpo.messages import EarlyStoppingRule, StopRule
from hpo.own_metrics import is_metric_name
from hpo.study.declared import at_least, is_number

__all__ = ["METRICS", "NETWORK_METRICS", "OWN_METRIC", "AtMost", "EarlyStopping", "StopWhen", "check_metric"]

METRICS = {
    "val_accuracy": "maximize",
    "val_loss": "minimize",
    "train_accuracy": "maximize",
    "train_loss": "minimize",
    "parameters": "minimize",
    "macs": "minimize",
    "latency_ms": "minimize",
}
"""What a trial can be judged by, and which way is better."""

NETWORK_METRICS = ("parameters", "macs", "latency_ms")
"""What follows from the network alone, trained or not."""


OWN_METRIC = 'metrics={"f1": Metric("my_parts:f1", direction="maximize")} in the study, from hpo import Metric'
"""How a study brings a metric of its own."""


@dataclass(frozen=True)
class EarlyStopping:
    """Ends a trial after `patience` epochs without an improvement of `min_delta`; the best weights are kept."""

    patience: int
    min_delta: float = 0.0
    monitor: str = "val_accuracy"

    def __post_init__(self) -> None:
        at_least("EarlyStopping", "patience", self.patience, 1)
        if not is_number(self.min_delta) or self.min_delta < 0:
            raise StudyError(f"EarlyStopping(min_delta={self.min_delta!r}) must be a number of at least 0")
        _check_per_epoch("EarlyStopping(monitor=...)", self.monitor)

    def rule(self) -> EarlyStoppingRule:
        """As a job carries it."""
        return EarlyStoppingRule(self.monitor, self.patience, self.min_delta)


@dataclass(frozen=True)
class StopWhen:
    """Ends a trial, as complete, once `epoch` epochs are done and `metric` is at least `at_least`."""

    epoch: int
    at_least: float
    metric: str = "val_accuracy"

    def __post_init__(self) -> None:
        at_least("StopWhen", "epoch", self.epoch, 1)
        if not is_number(self.at_least):
            raise StudyError(f"StopWhen(at_least={self.at_least!r}) must be a number")
        _check_per_epoch("StopWhen(metric=...)", self.metric)

    def rule(self) -> StopRule:
        """As a job carries it."""
        return StopRule(self.epoch, self.metric, self.at_least)


@dataclass(frozen=True)
class AtMost:
    """A constraint the search learns: `metric` no larger than `limit`, or than `times_baseline` x the baseline's.

    What follows from the network alone (parameters, macs, latency_ms) is compared within each trial, with the
    baseline's network measured beside the trial's own: neither another host nor a busy moment counts as slower.
    tolerance: share of the limit that counts as measurement error
    """

    metric: str
    limit: float | None = None
    times_baseline: float | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not is_metric_name(self.metric):
            raise StudyError(f"AtMost({self.metric!r}) is not given the name of a metric")
        if (self.limit is None) == (self.times_baseline is None):
            raise StudyError(f'AtMost("{self.metric}") needs either limit= or times_baseline=')
        for name in ("limit", "times_baseline"):
            value = getattr(self, name)
            if value is not None and not is_number(value):
                raise StudyError(f'AtMost("{self.metric}", {name}={value!r}) must be a number')
        if not is_number(self.tolerance) or not 0 <= self.tolerance < 1:
            raise StudyError(f'AtMost("{self.metric}", tolerance={self.tolerance!r}) must lie between 0 and 1')

    @property
    def of_network(self) -> bool:
        """Whether the limit needs only the baseline's network."""
        return self.times_baseline is not None and self.metric in NETWORK_METRICS

    def excess(self, value: float, baseline: float | None) -> float | None:
        """How far `value` lies above the limit, zero or less within it; None if it needs a baseline and has none."""
        if self.limit is not None:
            return value - self.limit * (1 + self.tolerance)
        if self.times_baseline is None or baseline is None:
            return None
        return value - self.times_baseline * baseline * (1 + self.tolerance)

    def __str__(self) -> str:
        limit = f"{self.limit:g}" if self.limit is not None else f"{self.times_baseline:g} x the baseline's"
        return f"{self.metric} <= {limit}" + (f" (+{self.tolerance:.0%})" if self.tolerance else "")


def check_metric(where: str, metric: str, known: Mapping[str, str], *, per_epoch: bool = False) -> None:
    """Raise StudyError unless `metric` is among the `known` ones (and is one of every epoch, if `per_epoch`)."""
    names = [name for name in known if not per_epoch or name not in NETWORK_METRICS]
    if metric not in names:
        raise StudyError(
            f'{where} names "{metric}", which training does not report',
            evidence=[near_miss(str(metric), names)],
            next=f"correct the name, or bring a metric of your own: {OWN_METRIC}",
        )


def _check_per_epoch(where: str, metric: str) -> None:
    """Raise StudyError for what is no metric of an epoch whatever the study is; the study knows the others."""
    if not is_metric_name(metric) or metric in NETWORK_METRICS:
        check_metric(where, metric, METRICS, per_epoch=True)
