"""The coordinator's loop: trainers on one side, the ledger on the other, and no waiting in between.

It never touches the database and never trains. Every event is handled in microseconds to milliseconds: a message from a
trainer, an event from the ledger, a signal, the deadline.
"""

from __future__ import annotations

import math
import queue
import shutil
import socket
import time
from collections import deque
from collections.abc import Sequence

from hpo.errors import DataError
from hpo.messages import Epoch, Finished, Ready
from hpo.search.events import (
    Counts,
    DatabaseRecovered,
    DatabaseUnavailable,
    Event,
    FatalError,
    TrialAssigned,
    TrialLost,
    TrialsSaved,
)
from hpo.search.failure_tracker import FailureTracker
from hpo.search.outcomes import Outcome, classify, given_up, pruned
from hpo.search.progress import SearchProgress
from hpo.search.reaper import MAX_ATTEMPTS
from hpo.search.storage_thread import StorageThread
from hpo.storage.trial_record import make_record
from hpo.study.discovery import FoundStudy
from hpo.trainers.jobs import make_job
from hpo.trainers.pool import TrainerPool
from hpo.trainers.slot import Slot
from hpo.trainers.trial import Trial

__all__ = ["Loop"]

STOP_SECONDS = 3.0
"""How long trainers may take to checkpoint and put their trials down, of the five that a deadline has."""


class Loop:
    """Runs slots until the study's budget is used up, a signal comes, or there is nothing left to do.

    wakeup: a non-blocking socket that becomes readable when the ledger or a signal handler wants attention
    """

    def __init__(
        self,
        found: FoundStudy,
        ledger: StorageThread,
        slots: Sequence[Slot],
        progress: SearchProgress,
        wakeup: socket.socket,
        patience_seconds: float,
    ) -> None:
        self.study = found.study
        self.ledger = ledger
        self.fleet = TrainerPool(slots)
        self.counts = Counts()
        self.deadline: float | None = None
        self.leave_at: float | None = None  # by time.monotonic(): this host's own limit, whatever the study's deadline
        self.leave_trials: int | None = None  # likewise, whatever the study's target
        self.interrupted = False
        self.found, self._progress = found, progress
        self._wakeup, self._patience_seconds = wakeup, patience_seconds
        self._waiting: deque[Trial] = deque()
        self._stopped = ""
        self._checkpoints: dict[int, str] = {}
        self._streaks = FailureTracker(found.study.name)
        self._trial_seconds = math.inf  # until an epoch is known

    def run(self) -> str:
        """Work until there is a reason to stop: "deadline", "trials", "exhausted", "signal", "database" (away).

        Raises HpoError for what the user must act on. Either way every trainer has left and every trial is put down.
        """
        self.fleet.start()
        self.ledger.start()
        try:
            while not self._stopped:
                self._turn(0.5)
                self._stopped = self._reason_to_stop()
        finally:
            self._stopped = self._stopped or "error"
            self._put_everything_down()
        return self._stopped

    # One turn -----------------------------------------------------------------------------------------------------

    def _turn(self, seconds: float) -> None:
        if self.deadline is not None and not self._stopped:
            seconds = max(0.0, min(seconds, self.deadline - time.monotonic()))
        for slot in self.fleet.wait(self._wakeup, seconds):
            self._hear(slot)
        self._read_ledger()
        if not self._stopped:
            self.fleet.restart_lost()
            self._hand_out()
        self._progress.show(self.counts, self.deadline, self.fleet.slots, self.ledger.outage.seconds)

    def _hear(self, slot: Slot) -> None:
        assert slot.process is not None
        message = slot.process.receive()
        if message is None:
            self._trainer_lost(slot)
        elif isinstance(message, Ready):
            slot.ready = message
        elif isinstance(message, Epoch):
            self._epoch(slot, message)
        elif isinstance(message, Finished):
            self._finished(slot, message)

    def _read_ledger(self) -> None:
        while True:
            try:
                event = self.ledger.events.get_nowait()
            except queue.Empty:
                return
            self._heed(event)

    def _heed(self, event: Event) -> None:
        match event:
            case TrialAssigned(trial):
                self._waiting.append(trial)
            case Counts():
                counts = event.within(self.leave_trials)
                self._progress.counted(self.counts, counts)
                self.counts = counts
                self.deadline = counts.deadline(self.leave_at)
            case TrialsSaved(trial_ids):
                for trial_id in trial_ids:
                    self._remove_checkpoint(trial_id)
            case TrialLost(trial_id, reason):
                self._trial_lost(trial_id, reason)
            case DatabaseUnavailable(reason):
                self._progress.notice(f"database away: {reason}; training goes on and results are kept")
            case DatabaseRecovered(seconds):
                self._progress.notice(f"database back after {seconds:.0f} s")
            case FatalError(error) if not self._stopped:
                raise error

    # Trials -------------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        for trial in list(self._waiting):
            if slot := self.fleet.place(trial):
                self._waiting.remove(trial)
                self._checkpoints[trial.trial_id] = trial.checkpoint
                slot.give(trial, make_job(self.found, trial))
        anywhere = sum(trial.attempt == 1 for trial in self._waiting)  # the others may wait for a slot of their own
        ahead = self.fleet.ahead(self.ledger.ask_seconds, self._trial_seconds)
        self.ledger.want(max(0, self.fleet.without_trial + ahead - anywhere), self.fleet.report())

    def _epoch(self, slot: Slot, message: Epoch) -> None:
        trial = slot.trial
        if trial is None or trial.trial_id != message.trial_id or slot.stopping is not None:
            return
        trial.epoch = message.epoch
        if message.report:
            trial.score = message.report[-1][1]
        if math.isinf(self._trial_seconds):
            self._trial_seconds = message.seconds * self.study.epochs
        if not message.replayed:
            trial.got_on = True
            slot.health.works()
        self.ledger.report(trial, message)
        self._progress.epoch(trial, message)
        if message.report and not message.replayed and self.ledger.asker.should_prune(trial):
            slot.stop(keep=False)
            self._tell(slot, trial, pruned(self.study, trial))

    def _finished(self, slot: Slot, message: Finished) -> None:
        trial, stopping = slot.trial, slot.stopping
        slot.stopping = None
        if trial is None or trial.trial_id != message.trial_id:
            self._remove_checkpoint(message.trial_id)  # pruned while it was still writing one
            return
        if message.outcome == "stopped":
            slot.trial = None
            if stopping is not None and stopping.keep:
                self.ledger.requeue(trial)
        elif message.outcome == "bad_data":
            slot.trial = None
            self.ledger.requeue(trial)
            if not self._stopped:
                raise DataError(message.reason, evidence=message.details)
        else:
            self._tell(slot, trial, classify(self.study, trial, message, self._progress.baseline))

    def _tell(self, slot: Slot, trial: Trial, verdict: Outcome) -> None:
        slot.trial = None
        if math.isfinite(self._trial_seconds):
            self._trial_seconds += 0.2 * (slot.seconds - self._trial_seconds)
        attributes = make_record(verdict.attributes, self._progress.provenance(slot, trial))
        self.ledger.finish(trial, verdict.state, verdict.values, attributes, verdict.constraints)
        self._progress.told(trial, verdict)
        if not self._stopped and (sentence := self._streaks.note(verdict)):
            self._progress.notice(sentence)

    def _trial_lost(self, trial_id: int, reason: str) -> None:
        self._waiting = deque(trial for trial in self._waiting if trial.trial_id != trial_id)
        self._checkpoints.pop(trial_id, None)  # the new owner's now
        slot = self.fleet.training(trial_id)
        if slot is not None and slot.stopping is None and slot.trial is not None:
            self._progress.notice(f"trial {slot.trial.number}: {reason}; stopped here")
            slot.stop(keep=False)

    def _trainer_lost(self, slot: Slot) -> None:
        trial, stopping = slot.trial, slot.stopping
        how, what = slot.lost(), ""
        if trial is not None and stopping is None and trial.attempts >= MAX_ATTEMPTS and not slot.quarantined:
            what = f" under trial {trial.number}, for the last time"
            self._tell(slot, trial, given_up(trial, how))
        elif trial is not None and (stopping is None or stopping.keep):
            # A trial put down on purpose or killed by a sick device has lost no attempt of its own.
            self.ledger.requeue(trial, attempts=0 if stopping or slot.quarantined else 1)
            what = f" under trial {trial.number}, which will be resumed"
        slot.trial = None
        self._progress.notice(f"trainer on {slot.spec.device} ended ({how}){what}")
        if slot.quarantined:
            self._progress.notice(f"{slot.spec.device} left alone: {slot.health.lost_in_a_row} trainers lost in a row")

    def _remove_checkpoint(self, trial_id: int) -> None:
        """Once the database has a trial's end, and its trainer has let go of it."""
        if any(slot.stopping is not None and slot.stopping.trial_id == trial_id for slot in self.fleet.slots):
            return
        if path := self._checkpoints.pop(trial_id, ""):
            shutil.rmtree(path, ignore_errors=True)

    # The end ------------------------------------------------------------------------------------------------------

    def _reason_to_stop(self) -> str:
        if self.interrupted:
            return "signal"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "deadline"
        if self.ledger.outage.seconds > self._patience_seconds:
            return "database"
        self.fleet.check()
        counts = self.counts
        if counts.trials_target is not None and counts.finished >= counts.trials_target:
            return "trials"
        idle = not self._waiting and not self.fleet.busy and not counts.running and not counts.waiting
        return "exhausted" if counts.exhausted and idle else ""

    def _put_everything_down(self) -> None:
        """Checkpoint and requeue what runs within STOP_SECONDS; kill what does not answer. Nothing is lost by it."""
        self.ledger.want(0, self.fleet.report())
        self.fleet.stop()
        limit = time.monotonic() + STOP_SECONDS
        while self.fleet.busy and time.monotonic() < limit:
            self._turn(0.1)
        for trial in [*self._waiting, *(slot.trial for slot in self.fleet.slots if slot.trial is not None)]:
            self.ledger.requeue(trial)
        self.fleet.kill()
