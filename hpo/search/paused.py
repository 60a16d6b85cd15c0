"""The checkpoints of paused trials: whether one is here, and how much all of them may take on disk."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hpo.ownership import remove_folder

__all__ = ["PausedCheckpoints"]

FILES = ("current", "previous", "finished.json")
"""Of which one is enough to go on (hpo.training.checkpoint)."""


class PausedCheckpoints:
    """folder: of the study, with one of each trial in it. most_bytes: of all that wait (HPO_CHECKPOINT_BYTES)."""

    def __init__(self, folder: Path, most_bytes: float) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._sizes: dict[int, int] = {}

    def has(self, number: int) -> bool:
        """Whether this host sees a checkpoint of the trial."""
        return any((self._folder / str(number) / name).is_file() for name in FILES)

    def wrote(self, number: int) -> None:
        """The trial has trained since its size was looked up."""
        self._sizes.pop(number, None)

    def keep_within_bound(self, best_first: Iterable[int]) -> list[int]:
        """Remove checkpoints of the worst of these trials until the others fit; the numbers of those removed.

        The best one keeps its checkpoint, however large.
        """
        total, removed = 0, []
        for place, number in enumerate(best_first):
            size = self._sizes.get(number)
            if size is None:
                size = self._sizes[number] = _bytes_in(self._folder / str(number))
            total += size
            if size and place and total > self._most_bytes:
                total -= size
                self.remove(number)
                removed.append(number)
        return removed

    def remove(self, number: int) -> None:
        """Remove what a trial keeps."""
        self._sizes[number] = 0
        remove_folder(self._folder / str(number), self._folder.parent)


def _bytes_in(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for path in folder.rglob("*"):
            with suppress(OSError):
                total += path.lstat().st_size
    return total
