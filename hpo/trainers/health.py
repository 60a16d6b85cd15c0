"""Whether a slot's device is unhealthy, or only its trials: judged by how its trainers died."""

from __future__ import annotations

__all__ = ["Health"]

QUARANTINE_AFTER = 3
"""After this many trainers lost in a row, with no epoch finished between them, a slot gets no more trials."""


class Health:
    """The trainers that one slot lost in a row.

    A device that never finished an epoch is blamed for every death on it. One that has worked before is blamed only
    when trainers die under different trials: a single trial that kills them all fails instead.
    """

    def __init__(self) -> None:
        self.lost_in_a_row = 0
        self._proven = False
        self._trials: set[int | None] = set()

    def works(self) -> None:
        """It finished an epoch."""
        self._proven = True
        self.lost_in_a_row = 0
        self._trials.clear()

    def lost(self, trial_id: int | None) -> None:
        """Its trainer died, under this trial or before it had any."""
        self.lost_in_a_row += 1
        self._trials.add(trial_id)

    @property
    def unhealthy(self) -> bool:
        the_trial_to_blame = self._proven and len(self._trials) == 1 and None not in self._trials
        return self.lost_in_a_row >= QUARANTINE_AFTER and not the_trial_to_blame

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next trainer: not at all at first, then long enough for a device to recover."""
        return (0.0, 0.0, 1.0, 3.0)[min(self.lost_in_a_row, 3)]
