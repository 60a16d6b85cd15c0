"""What a decision is made from, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Belief", "Decision", "Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a trial stands.

    params:     flat, under the names that Optuna has (`hidden_units_0`)
    values:     the objective after epochs 1, 2, ..., as reported; NaN or infinite where it was
    seconds:    of its epochs, on average; NaN while none has ended
    until:      the epoch up to which it is being trained; 0 for one that waits or has ended
    ended:      it will not be trained again, whatever the reason
    infeasible: it ended because it ran out of memory, diverged or broke a constraint, and its values are to blame
    whole:      it is trained to its end before any other: the baseline
    held:       while it waits, only another host can go on with it
    lost:       its checkpoint is gone: to go on with it is to begin it again
    """

    number: int
    params: Mapping[str, Any]
    values: Sequence[float] = ()
    seconds: float = float("nan")
    until: int = 0
    ended: bool = False
    infeasible: bool = False
    whole: bool = False
    held: bool = False
    lost: bool = False

    @property
    def waits(self) -> bool:
        """Whether it may be trained now, and here."""
        return not (self.until or self.ended or self.held)

    def left(self, epochs: int) -> int:
        """How many epochs it needs to its end, of `epochs`."""
        return epochs if self.lost else max(0, epochs - len(self.values))


@dataclass(frozen=True, slots=True)
class Belief:
    """Why a trial was chosen: what was believed about it.

    epoch:    at which it was looked at, and by when
    goal:     the value that it is to pass there
    expected: the value that it is believed to have there, give or take `spread` (a standard deviation)
    chance:   the probability that it passes the goal, and can be trained at all
    seconds:  of an epoch of it, measured or predicted; 1 where none is known
    rivals:   how many others were considered
    """

    epoch: int
    goal: float
    expected: float
    spread: float
    chance: float
    seconds: float
    rivals: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Train trial `number`, or a new one with `params` where it is None, up to epoch `until`, included.

    why:    in words, where nothing was weighed
    belief: what was weighed, else None
    """

    number: int | None
    params: Mapping[str, Any]
    until: int
    why: str = ""
    belief: Belief | None = None
