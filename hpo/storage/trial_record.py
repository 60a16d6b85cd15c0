"""What hpo records about a trial, as the trial's user attributes in Optuna: the keys, and their one reader and writer.

Databases hold these keys: one that is renamed here is lost there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, cast

from optuna.trial import FrozenTrial

__all__ = ["TrialFailure", "TrialRecord", "make_record", "record_of"]


class TrialFailure(TypedDict, total=False):
    """Why a trial gave no result.

    kind: "diverged", "out_of_memory", "failed", or "attempts": trainers or hosts died under each of them
    """

    kind: str
    reason: str
    where: str  # file:line of the user's code
    traceback: list[str]
    attempts: int
    worker: str
    host: str | None


class TrialRecord(TypedDict, total=False):
    """Each key is there from the event on that its comment names; a trial of plain Optuna has none.

    Times are in seconds, sizes in bytes. `facts` of hpo.messages.Finished says more about the trainer's keys.
    """

    origin: str  # when it was enqueued: "baseline", "known 1"
    config: dict[str, Any]  # from here: when it ended
    attempt: int
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    failure: TrialFailure
    seed: int
    seconds: float  # that a trainer spent on it
    device: str
    device_name: str
    worker: str
    host: str
    git_commit: str | None
    packages: dict[str, str]
    versions: dict[str, str]
    data_checksum: str | None  # from here: what the trainer said
    resumed_epoch: int | None
    setup_seconds: float
    train_seconds: float
    eval_seconds: float
    peak_memory_bytes: int | None
    parameters: int
    macs: int | None
    initial_loss: float | None
    expected_initial_loss: float
    out_of_time: bool
    precision: str
    warnings: list[str]
    folds: list[dict[str, Any]]


def make_record(*parts: Mapping[str, Any]) -> TrialRecord:
    """One record of `parts`, the later ones winning: the trainer's facts, the coordinator's, and what became of it."""
    return cast(TrialRecord, {key: value for part in parts for key, value in part.items()})


def record_of(trial: FrozenTrial) -> TrialRecord:
    """What hpo recorded about `trial`, without what is not of the type it has to be.

    Another script's attribute of the same name may be anything, and so may what a user changed by hand.
    """
    return cast(TrialRecord, {key: value for key, value in trial.user_attrs.items() if _is_ours(key, value)})


def _is_ours(key: str, value: Any) -> bool:
    fits = _KINDS.get(key)
    return fits is None or fits(value)


def _mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("config", "metrics", "failure", "packages", "versions"), _mapping),
    **dict.fromkeys(("origin", "device", "device_name", "worker", "host", "git_commit", "data_checksum"), _text),
    **dict.fromkeys(("seconds", "setup_seconds", "train_seconds", "eval_seconds"), _number),
    **dict.fromkeys(("parameters", "macs", "peak_memory_bytes"), _number),
    **dict.fromkeys(("attempt", "epochs", "best_epoch", "seed"), _whole),
}
"""By key, whether a value may be used. Keys that no reader takes out by name are not looked at."""
