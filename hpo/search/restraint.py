"""How often a host tells and asks the database what can wait: less often, the more trials of its study run."""

from __future__ import annotations

__all__ = ["Restraint"]

FLUSH_SECONDS, MOST_FLUSH_SECONDS = 1.0, 5.0
"""How long a report may wait for others to be written with it, where few trials run and where many do. Outcomes never
wait."""
MANY, MANY_TO_COUNT = 100, 200
"""Running trials, those ahead among them, from which on a study's hosts spare the server. Below, each does everything
as soon as it is due."""


class Restraint:
    """running: trials of the study that run, as its hosts last counted them. lease_seconds: how long a lease lasts"""

    def __init__(self, lease_seconds: float) -> None:
        self.running = 0
        self._most = min(MOST_FLUSH_SECONDS, lease_seconds / 6)
        self._renewals = 0

    @property
    def flush_seconds(self) -> float:
        return min(max(FLUSH_SECONDS, self.running / MANY), max(FLUSH_SECONDS, self._most))

    def is_time_to_count(self) -> bool:
        """Asked at each renewal. Counting a study's trials takes the longer the more there are; a host that gets no
        trial counts at once, so that no end is missed."""
        self._renewals += 1
        if self._renewals < self.running / MANY_TO_COUNT:
            return False
        self._renewals = 0
        return True
