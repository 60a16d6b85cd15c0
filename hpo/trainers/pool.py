"""All slots of this host: which are free, which lost their trainer, which start a new one."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from hpo.errors import DeviceError
from hpo.trainers.process import next_after
from hpo.trainers.slot import Slot
from hpo.trainers.trial import Trial

__all__ = ["TrainerPool"]

WAITING_SHARE = 0.01
"""The share of their time that devices may wait for the sampler when all slots end their trials at once."""


FRESH_SHARE = 0.005
"""Asking takes next to no time if it is less than this share of a trial from its first epoch to its last."""


class TrainerPool:
    """All slots of one coordinator.

    ahead: whether trials are asked for before a slot is free for them; fresh: not where asking takes next to no time,
           because what is asked for depends on how the trial that frees the slot has done
    """

    def __init__(self, slots: Sequence[Slot], *, ahead: bool = True, fresh: bool = False) -> None:
        self.slots = list(slots)
        self._ahead, self._fresh = ahead, fresh

    def start(self) -> None:
        for slot in self.slots:
            if slot.process is None:
                slot.start()

    def wait(self, wakeup: socket.socket, seconds: float) -> list[Slot]:
        """Slots whose trainer has sent a message (or died). Returns early when `wakeup` is readable, and empties it."""
        by_connection = {slot.process.connection: slot for slot in self.slots if slot.process is not None}
        sources = wait([*by_connection, wakeup], seconds)
        with suppress(BlockingIOError):
            while wakeup in sources and wakeup.recv(4096):
                pass
        return [by_connection[source] for source in sources if source is not wakeup]  # type: ignore[index]

    def restart_lost(self) -> None:
        for slot in self.slots:
            if slot.process is None and not slot.quarantined and time.monotonic() >= slot.restart_at:
                slot.start()

    def check(self) -> None:
        """Raise DeviceError when no slot is left to work with."""
        if all(slot.quarantined for slot in self.slots):
            devices = ", ".join(dict.fromkeys(slot.spec.device for slot in self.slots))
            raise DeviceError(
                f"every trainer on {devices} ended again and again",
                evidence=[f"such as with {self.slots[-1].ended}: see their output above"],
                next=next_after(self.slots[-1].ended),
            )

    def place_of(self, slot: Slot) -> tuple[int, int]:
        """(which it is of the slots on its device, from 1 on; how many these are)."""
        alike = [other for other in self.slots if other.spec.device == slot.spec.device]
        return alike.index(slot) + 1, len(alike)

    @property
    def working(self) -> list[Slot]:
        """Slots that are not quarantined."""
        return [slot for slot in self.slots if not slot.quarantined]

    @property
    def without_trial(self) -> int:
        """Slots that could use a trial now or as soon as their trainer has started."""
        return sum(1 for slot in self.working if slot.trial is None)

    def prefetch(self, ask_seconds: float, trial_seconds: float) -> int:
        """How many trials to have ready beyond those in training: few, because early sampling knows fewer results.

        Of s slots that end at once, n find a trial ready; the others wait until theirs are all sampled, which takes
        (s - n) * ask_seconds each.
        """
        if not self._ahead or (self._fresh and ask_seconds < FRESH_SHARE * trial_seconds):
            return 0
        slots = len(self.working)
        may_wait = math.sqrt(WAITING_SHARE * slots * trial_seconds / ask_seconds)
        return math.ceil(max(1.0, slots - may_wait))

    @property
    def busy(self) -> bool:
        return any(slot.trial is not None for slot in self.slots)

    def place(self, trial: Trial) -> Slot | None:
        """A free slot for `trial`. A trial whose trainer died goes to another slot if there is one, so that an
        unhealthy device loses no trial, and a trial that kills its trainers does not quarantine a device."""
        free = [slot for slot in self.slots if slot.free]
        if trial.attempt > 1 and any(slot.health.lost_in_a_row == 0 for slot in self.working):
            free = [slot for slot in free if slot.health.lost_in_a_row == 0]
        return free[0] if free else None

    def training(self, trial_id: int) -> Slot | None:
        """The slot that trains this trial."""
        return next((slot for slot in self.slots if slot.trial is not None and slot.trial.trial_id == trial_id), None)

    def stop(self) -> None:
        """Ask every trainer to checkpoint its trial and stop."""
        for slot in self.slots:
            if slot.stopping is None:
                slot.stop(keep=True)

    def kill(self) -> None:
        for slot in self.slots:
            slot.kill()

    def report(self) -> list[dict[str, Any]]:
        """Each slot as `hpo status` shows it."""
        return [
            {"device": slot.spec.device, "state": slot.state, "trial": slot.trial.number if slot.trial else None}
            for slot in self.slots
        ]
