"""Compare two curves number by number, and the surroundings of two trainings one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.messages import EPOCH_METRICS
from hpo.reproduction.record import Record

__all__ = ["CURVE", "Change", "Mismatch", "changed_rows", "changes", "mismatches"]

CURVE = EPOCH_METRICS


@dataclass(frozen=True)
class Mismatch:
    """A number that differs. epoch counts from 1; 0 means the trial's end."""

    epoch: int
    metric: str
    then: float | None
    now: float | None


@dataclass(frozen=True)
class Change:
    """Something around the training that differs. None: it was not recorded, or does not exist."""

    what: str
    then: str | None
    now: str | None


def mismatches(
    epoch: int, then: Mapping[str, Any], now: Mapping[str, Any], metrics: Sequence[str] = CURVE
) -> list[Mismatch]:
    """The metrics that differ in any bit. Two NaN are the same."""
    pairs = [(name, _number(then.get(name)), _number(now.get(name))) for name in metrics]
    return [Mismatch(epoch, name, old, new) for name, old, new in pairs if not _same(old, new)]


def changes(record: Record, now: Mapping[str, Any], sources: Mapping[str, str]) -> list[Change]:
    """What differs now from what the trial recorded.

    now: git_commit, packages, versions, device, device_name, data_checksum and kernels, as a trial records them
    sources: file name -> digest of the code that runs now
    """
    then = record.facts
    found = [
        _change("commit", then.get("git_commit"), now.get("git_commit")),
        *_each("version of", _versions(then), _versions(now)),
        _change("device", _device(then), _device(now)),
        _change("data checksum", _short(then.get("data_checksum")), _short(now.get("data_checksum"))),
    ]
    if then.get("kernels") and now.get("kernels"):
        found += _each("kernels:", then["kernels"], now["kernels"])
    if record.sources is None:
        found.append(Change("source files", None, f"{len(sources)} files"))
    else:
        found += _each("source file", record.sources, sources)
    return [change for change in found if change is not None]


def changed_rows(then: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    """Rows of the study's table that have changed since. The trial is still trained with the recorded ones."""
    found = _each("study row", then, now)
    return [change for change in found if change is not None]


def _each(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change | None]:
    return [_change(f"{what} {name}", then.get(name), now.get(name)) for name in sorted({*then, *now})]


def _change(what: str, then: Any, now: Any) -> Change | None:
    if then == now:
        return None
    return Change(what, None if then is None else str(then), None if now is None else str(now))


def _versions(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Versions that trained it, from the trainer's record, else the coordinator's. Optuna only chose parameters."""
    both = {**facts.get("packages", {}), **facts.get("versions", {})}
    return {name: version for name, version in both.items() if name != "optuna"}


def _device(facts: Mapping[str, Any]) -> str:
    kind = str(facts.get("device", "")).partition(":")[0]  # cuda:0 and cuda:1 of one name are the same hardware
    return f"{kind} {facts.get('device_name', '')}".strip()


def _short(checksum: Any) -> str | None:
    return str(checksum)[:16] if checksum else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _same(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is new
    return old == new or (math.isnan(old) and math.isnan(new))
