"""One slot: a place on a device where one trainer at a time runs one trial at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo.messages import Job, Message, Ready, Stop
from hpo.trainers.health import Health
from hpo.trainers.process import TrainerProcess
from hpo.trainers.snapshot import SlotView

if TYPE_CHECKING:
    from hpo.trainers.trial import Trial

__all__ = ["Slot", "SlotSpec"]


@dataclass(frozen=True)
class SlotSpec:
    """device: as torch names it, "cpu" or "cuda:0", or several that train a trial together, "cuda:0,cuda:1".
    arguments: further words of the trainer's command line."""

    device: str
    arguments: tuple[str, ...] = ()

    @property
    def devices(self) -> list[str]:
        return self.device.split(",")


class Slot:
    """A trainer process and its trial. `start` makes the process; the loop decides everything else."""

    def __init__(self, index: int, spec: SlotSpec, spawn: Callable[[SlotSpec], TrainerProcess]) -> None:
        self.index = index
        self.spec = spec
        self.trial: Trial | None = None
        self.process: TrainerProcess | None = None
        self.ready: Ready | None = None
        self.health = Health()
        self.restart_at = 0.0
        self.ended = ""  # how its last trainer did
        self.since = time.monotonic()
        # After a Stop the trainer still sends a Finished; what it reports until then is ignored.
        self.stopping: Stop | None = None
        self._spawn = spawn
        self._stop_asked = 0.0

    @property
    def state(self) -> str:
        if self.quarantined:
            return "quarantined"
        if self.process is None:
            return "restarting"
        if self.ready is None:
            return "starting"
        return "training" if self.trial else "idle"

    @property
    def quarantined(self) -> bool:
        return self.health.unhealthy

    @property
    def free(self) -> bool:
        """Whether it can take a trial now."""
        return self.ready is not None and self.trial is None and self.stopping is None

    @property
    def seconds(self) -> float:
        """Seconds since it got its trial."""
        return time.monotonic() - self.since

    @property
    def stopping_seconds(self) -> float:
        """Seconds since its trainer was asked to stop."""
        return time.monotonic() - self._stop_asked

    def start(self) -> None:
        self.process = self._spawn(self.spec)
        self.ready = None
        self.stopping = None

    def send(self, message: Message) -> None:
        assert self.process is not None
        self.process.send(message)

    def give(self, trial: Trial, job: Job) -> None:
        self.trial = trial
        self.since = time.monotonic()
        self.send(job)

    def stop(self, *, keep: bool) -> None:
        """Ask the trainer to end its trial at the next step. It answers with Finished."""
        if self.trial is not None and self.process is not None:
            self.stopping = Stop(self.trial.trial_id, keep)
            self._stop_asked = time.monotonic()
            self.process.send(self.stopping)

    def kill(self) -> None:
        """End the trainer, whatever it is doing."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def lost(self) -> str:
        """The process has died or has to: reap it, and plan the next one. Returns how it ended."""
        assert self.process is not None
        self.ended = self.process.close()
        self.process = self.ready = self.stopping = None
        self.health.lost(self.trial.trial_id if self.trial else None)
        self.restart_at = time.monotonic() + self.health.pause_seconds
        return self.ended

    def view(self) -> SlotView:
        trial = self.trial
        return SlotView(
            device=self.spec.device,
            state=self.state,
            trial=trial.number if trial else None,
            epoch=trial.epoch if trial else 0,
            score=trial.score if trial else None,
            seconds=self.seconds if trial else 0.0,
        )
