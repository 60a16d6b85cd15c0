"""The ways in which training of one's own comes to hpo, each with the same script: for fault tests and chaos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world import World

__all__ = ["DOORS", "Door"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Door:
    """study: as --study has it, in this folder; words: what else the command line has to say

    first: step of a trial's first report; exact: whether a trial that was interrupted is bit for bit the one left alone
    """

    study: str
    words: tuple[str, ...] = ()
    first: int = 0
    name: str = "optuna_script"
    exact: bool = False

    def trials(self, number: int) -> tuple[str, ...]:
        return ("--trials", str(number), *self.words)

    def script(self, new_world: Any, **fields: Any) -> World:
        world: World = new_world(study=str(HERE / self.study), name=self.name, fake=None, lease_seconds=4.0, **fields)
        return world

    def slowed(self, world: World, slowly: Path) -> dict[str, str]:
        """Variables with which each epoch takes its time while the file `slowly` is there."""
        logged = {} if self.study == "command_study.py" else {"TRAINER_LOG": str(world.folder / "trainers.log")}
        return {**logged, "SLOWLY": str(slowly)}


DOORS = {
    "objective": Door("optuna_script.py:objective", ("--direction", "maximize")),
    "train": Door("train_script.py", first=1, name="train_script", exact=True),
    "command": Door("command_study.py"),
    "hook": Door("hook_script.py", first=1, name="hook_script", exact=True),
}
