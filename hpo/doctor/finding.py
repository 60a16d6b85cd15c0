"""What one check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpo.errors import HpoError

__all__ = ["Finding", "Level", "failed"]

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """level: "ok"; "warn": it costs speed or space, or deserves a look; "fail": a search does not work like this.

    fact:    one sentence with the values in it
    details: lines that prove it; next: one thing to do about it
    """

    check: str
    level: Level
    fact: str
    details: tuple[str, ...] = ()
    next: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def failed(check: str, error: HpoError) -> Finding:
    """The finding of a check that raised an HpoError."""
    return Finding(check, "fail", error.fact, error.evidence, error.next)
