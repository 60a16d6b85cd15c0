"""The checkpoints of the trials that this host has handed out, each removed once the database has its trial's end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hpo.ownership import remove_file, remove_folder
from hpo.study.command import history_of
from hpo.trainers.slot import Slot
from hpo.trainers.trial import Trial

__all__ = ["CheckpointFolders"]


class CheckpointFolders:
    """Folders by trial. Only the loop's thread uses it."""

    def __init__(self) -> None:
        self._paths: dict[int, str] = {}

    def expect(self, trial: Trial) -> None:
        """A trainer may write one from now on."""
        self._paths[trial.trial_id] = trial.checkpoint

    def leave(self, trial_id: int) -> None:
        """It is another host's now."""
        self._paths.pop(trial_id, None)

    def remove(self, trial_id: int, slots: Iterable[Slot]) -> None:
        """Called once the database has the trial's end; waits for the trainer to be done with it."""
        if any(slot.stopping is not None and slot.stopping.trial_id == trial_id for slot in slots):
            return
        if path := self._paths.pop(trial_id, ""):
            remove_folder(Path(path), Path(path).parents[1])
            remove_file(history_of(Path(path)), Path(path).parents[1])
