"""What hpo records about a trial, as the trial's user attributes in Optuna: the keys, and their one reader and writer.

Databases hold these keys: if one is renamed here, its values there are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict, cast

from optuna.trial import FrozenTrial

__all__ = ["REFUSED", "TrialFailure", "TrialRecord", "decisions_of", "make_record", "record_of"]


REFUSED = "refused"
"""The kind of failure of a trial that was never trained because a value that others gave it fits no row."""


class TrialFailure(TypedDict, total=False):
    """Why a trial gave no result.

    kind: "diverged", "out_of_memory", "failed", REFUSED, or "attempts": trainers or hosts died under each of them
    """

    kind: str
    reason: str
    where: str  # file:line of the user's code
    traceback: list[str]
    attempts: int
    worker: str
    host: str | None


class TrialRecord(TypedDict, total=False):
    """Each key exists from the event that its comment names; a trial of plain Optuna has none.

    Times are in seconds, sizes in bytes. `facts` of hpo.messages.Finished says more about the trainer's keys.
    """

    origin: str  # when it was enqueued: "baseline", "known 1"
    config: dict[str, Any]  # from here: when it ended
    attempt: int
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    trainer_deaths: int  # Trial.trainer_deaths, for whoever resumes it
    failure: TrialFailure
    earlier_failure: TrialFailure  # of a trial that was put back into the queue (--retry-failed)
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
    val_images: int  # that it was scored on, of all folds together
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
    command: str  # the line of a program of the user's own, with its values
    precision: str
    kernels: dict[str, Any]  # hpo.training.kernels.choice, of a CPU: which ways trained it
    warnings: list[str]
    folds: list[dict[str, Any]]
    seeds: list[dict[str, Any]]
    decisions: list[dict[str, Any]]  # of a search with paused trials (hpo.search.planning), the first one first
    planned_epochs: int  # that it was to train for, where the study's table has more by now (--evolve)
    epoch_seconds: float  # when it paused: what an epoch took on average, validation included


def make_record(*parts: Mapping[str, Any]) -> TrialRecord:
    """One record of `parts`, of which later ones win: the trainer's facts, the coordinator's, and the outcome."""
    return cast(TrialRecord, {key: value for part in parts for key, value in part.items()})


def record_of(trial: FrozenTrial) -> TrialRecord:
    """What hpo recorded about `trial`, without values of a wrong type.

    Another script's attribute of the same name may be anything, and so may what a user changed by hand.
    """
    ours = {key: value for key, value in trial.user_attrs.items() if _is_ours(_KINDS, key, value)}
    for key, kinds in _INSIDE.items():
        if key in ours:
            ours[key] = {name: value for name, value in ours[key].items() if _is_ours(kinds, name, value)}
    return cast(TrialRecord, ours)


def decisions_of(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Why and until when a search with paused trials trained `trial`, the first decision first.

    `after` and `until` are epochs; the rest is as hpo.freeze_thaw.progress.Belief has it, in the objective's unit.
    """
    rows = [row for row in record_of(trial).get("decisions", []) if isinstance(row, dict)]
    return [row for row in rows if _whole(row.get("until")) and _whole(row.get("after"))]


def _is_ours(kinds: Mapping[str, Callable[[Any], bool]], key: str, value: Any) -> bool:
    fits = kinds.get(key) or kinds.get("*")
    return fits is None or fits(value)


def _mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _measure(value: Any) -> bool:
    """A number of a trial. It need not be finite: the trial may have diverged."""
    return value is None or isinstance(value, float) or _number(value)


def _lines(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("config", "metrics", "failure", "earlier_failure", "packages", "versions", "kernels"), _mapping),
    **dict.fromkeys(
        ("origin", "device", "device_name", "worker", "host", "git_commit", "data_checksum", "command"), _text
    ),
    **dict.fromkeys(("seconds", "setup_seconds", "train_seconds", "eval_seconds", "epoch_seconds"), _number),
    **dict.fromkeys(("parameters", "macs", "peak_memory_bytes"), _number),
    "decisions": _list,
    **dict.fromkeys(
        ("attempt", "epochs", "best_epoch", "seed", "trainer_deaths", "val_images", "planned_epochs"), _whole
    ),
}
"""By key, whether a value may be used. Keys that no reader names are not checked."""

_INSIDE: dict[str, dict[str, Callable[[Any], bool]]] = {
    "failure": {**dict.fromkeys(("kind", "reason", "where", "worker"), _text), "traceback": _lines, "attempts": _whole},
    "metrics": {"*": _measure},
    "packages": {"*": _text},
    "versions": {"*": _text},
}
"""The same for what stands in one of them; "*": whatever its name."""
