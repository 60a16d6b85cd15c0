"""What samplers and pruners share: they print as they are written, and say which of their numbers is impossible."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hpo.errors import StudyError

__all__ = ["DeclaredOption", "at_least", "is_number"]


@dataclass(frozen=True)
class DeclaredOption:
    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in fields(self))})"


def at_least(owner: str, name: str, value: int, least: int) -> None:
    """Raise StudyError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise StudyError(f"{owner}({name}={value!r}) must be a whole number of at least {least}")


def is_number(value: object) -> bool:
    """Whether `value` is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf
