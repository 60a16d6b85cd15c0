"""The coordinator's loop: trainers on one side, the storage thread on the other, and no waiting in between.

It never touches the database and never trains. Every event takes microseconds to milliseconds.
"""

from __future__ import annotations

import math
import queue
import socket
import time
from collections import deque
from collections.abc import Sequence

from hpo.errors import DataError
from hpo.messages import Epoch, Finished, Ready
from hpo.own_messages import Attribute, Question, Report
from hpo.search.checkpoints import CheckpointFolders
from hpo.search.events import (
    Counts,
    DatabaseRecovered,
    DatabaseUnavailable,
    Event,
    FatalError,
    Notice,
    TrialAssigned,
    TrialLost,
    TrialRefused,
    TrialsSaved,
)
from hpo.search.failure_tracker import FailureTracker
from hpo.search.outcomes import Outcome, classify, given_up, pruned
from hpo.search.own_trials import OwnTrials
from hpo.search.reaper import MAX_DEATHS
from hpo.search.reporting import SearchProgress
from hpo.search.storage_thread import StorageThread
from hpo.study.discovery import FoundStudy
from hpo.study.pausing import can_wait
from hpo.trainers.jobs import make_job
from hpo.trainers.pool import TrainerPool
from hpo.trainers.slot import Slot
from hpo.trainers.trial import Trial

__all__ = ["Loop"]

STOP_SECONDS = 3.0
"""How long trainers may take to checkpoint and release their trials; a deadline leaves five seconds for everything."""


class Loop:
    """Runs slots until the study's budget is used up, a signal comes, or there is nothing left to do.

    wakeup: a non-blocking socket that becomes readable when the storage thread or a signal handler wants attention
    """

    def __init__(
        self,
        found: FoundStudy,
        storage_thread: StorageThread,
        slots: Sequence[Slot],
        progress: SearchProgress,
        wakeup: socket.socket,
        patience_seconds: float,
        own_trials: OwnTrials | None = None,
    ) -> None:
        self.study = found.study
        self._own_trials = own_trials
        self.storage_thread = storage_thread
        self.pool = TrainerPool(slots, fresh=can_wait(found.study))
        self.counts = Counts()
        self.deadline: float | None = None
        self.leave_at: float | None = None  # by time.monotonic(): this host's own limit, whatever the study's deadline
        self.leave_trials: int | None = None  # likewise, whatever the study's target
        self.interrupted = self._ending = False
        self.found, self._progress = found, progress
        self._wakeup, self._patience_seconds = wakeup, patience_seconds
        self._waiting: deque[Trial] = deque()
        self._stopped, self._checkpoints = "", CheckpointFolders()
        self._failures = FailureTracker(found.study.name)
        self._trial_seconds = math.inf  # until an epoch is known

    def run(self) -> str:
        """Work until there is a reason to stop: deadline, trials, exhausted, converged, stopped, signal, database.

        Raises HpoError for what the user must act on. Either way every trainer has ended and every trial is released.
        """
        self.pool.start()
        self.storage_thread.start()
        try:
            while not self._stopped:
                self._turn(0.5)
                self._stopped = self._reason_to_stop()
        finally:
            self._stopped = self._stopped or "error"
            self._release_everything()
        return self._stopped

    # One turn -----------------------------------------------------------------------------------------------------

    def _turn(self, seconds: float) -> None:
        if self.deadline is not None and not self._stopped:
            seconds = max(0.0, min(seconds, self.deadline - time.monotonic()))
        for slot in self.pool.wait(self._wakeup, seconds):
            self._on_message(slot)
        self.handle_events()
        if not self._stopped:
            self.pool.restart_lost()
            self._hand_out()
        if self._own_trials is not None:
            self._own_trials.attend(self.pool.slots, self._waiting)
        self._progress.show(self.counts, self.deadline, self.pool.slots, self.storage_thread.outage.seconds)

    def _on_message(self, slot: Slot) -> None:
        assert slot.process is not None
        message = slot.process.receive()
        if message is None:
            self._on_trainer_lost(slot)
        elif isinstance(message, Ready):
            slot.ready = message
        elif isinstance(message, Epoch):
            self._on_epoch(slot, message)
        elif isinstance(message, Finished):
            self._on_finished(slot, message)
        elif isinstance(message, Question | Report | Attribute) and self._own_trials is not None:
            self._on_own(self._own_trials, slot, message)

    def handle_events(self) -> None:
        """Take in what the storage thread says; after `run`, what it said last."""
        while True:
            try:
                event = self.storage_thread.events.get_nowait()
            except queue.Empty:
                return
            self._handle_event(event)

    def _handle_event(self, event: Event) -> None:
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
                    self._checkpoints.remove(trial_id, self.pool.slots)
            case TrialRefused(number, reason):
                self._progress.refused(number, reason)
            case TrialLost(trial_id, reason):
                self._on_trial_lost(trial_id, reason)
            case Notice(sentence):
                self._progress.notice(sentence)
            case DatabaseUnavailable(reason):
                self._progress.notice(
                    f"database away: {reason}; training continues, and results are saved when it is back"
                )
            case DatabaseRecovered(seconds):
                self._progress.notice(f"database back after {seconds:.0f} s")
            case FatalError(error) if not self._stopped:
                raise error

    # Trials -------------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        for trial in [] if self._ending else list(self._waiting):
            if slot := self.pool.place(trial):
                self._waiting.remove(trial)
                self._checkpoints.expect(trial)
                slot.give(trial, make_job(self.found, trial))
        anywhere = sum(trial.attempt == 1 for trial in self._waiting)  # the others may wait for a slot of their own
        prefetch = self.pool.prefetch(self.storage_thread.ask_seconds, self._trial_seconds)
        wanted = 0 if self._ending else max(0, self.pool.without_trial + prefetch - anywhere)
        self.storage_thread.want(wanted, self.pool.report())

    def _on_epoch(self, slot: Slot, message: Epoch) -> None:
        trial = slot.trial
        if trial is None or trial.trial_id != message.trial_id or slot.stopping is not None:
            return
        trial.epoch = message.epoch
        if message.report:
            trial.reported(message.report)
        if math.isinf(self._trial_seconds):
            self._trial_seconds = message.seconds * self.study.epochs
        if not message.replayed:
            trial.got_on = True
            slot.health.works()
        self.storage_thread.report(trial, message)
        self._progress.epoch(trial, message)
        if message.report and not message.replayed and self.storage_thread.should_prune(trial):
            slot.stop(keep=False)
            self._finish(slot, trial, pruned(self.study, trial))

    def _on_own(self, own: OwnTrials, slot: Slot, message: Question | Report | Attribute) -> None:
        """What the user's own function asks or says."""
        trial = slot.trial
        if trial is None or trial.trial_id != message.trial_id or slot.stopping is not None:
            return
        if isinstance(message, Question):
            own.ask(slot, trial, message)
        elif isinstance(message, Report):
            epoch = own.reported(slot, trial, message)
            self.storage_thread.report(trial, epoch)
            self._progress.epoch(trial, epoch)
        elif message.kind == "stop":
            self._ending = True
        else:
            self.storage_thread.record(lambda: own.note(trial, message), trial)

    def _on_finished(self, slot: Slot, message: Finished) -> None:
        trial, stopping = slot.trial, slot.stopping
        slot.stopping = None
        if trial is None or trial.trial_id != message.trial_id:
            self._checkpoints.remove(message.trial_id, self.pool.slots)  # pruned while it was still writing one
            return
        if message.outcome == "stopped":
            slot.trial = None
            if stopping is None or stopping.keep:  # None: it waits for its next turn
                self.storage_thread.requeue(trial)
        elif message.outcome == "bad_data":
            slot.trial = None
            self.storage_thread.requeue(trial)
            if not self._stopped:
                raise DataError(message.reason, evidence=message.details)
        else:
            self._finish(slot, trial, classify(self.study, trial, message, self._progress.baseline))

    def _finish(self, slot: Slot, trial: Trial, outcome: Outcome) -> None:
        slot.trial = None
        if math.isfinite(self._trial_seconds):
            self._trial_seconds += 0.2 * (slot.seconds - self._trial_seconds)
        elif self._own_trials is not None:
            self._trial_seconds = slot.seconds
        attributes = self._progress.record(slot, trial, outcome.attributes).items()
        kept = {name: value for name, value in attributes if name not in trial.noted or name == "failure"}
        self.storage_thread.finish(trial, outcome.state, outcome.values, kept, outcome.constraints)
        self._progress.finished(trial, outcome)
        if not self._stopped and (sentence := self._failures.record(outcome)):
            self._progress.notice(sentence)

    def _on_trial_lost(self, trial_id: int, reason: str) -> None:
        self._waiting = deque(trial for trial in self._waiting if trial.trial_id != trial_id)
        self._checkpoints.leave(trial_id)  # the new owner's now
        slot = self.pool.training(trial_id)
        if slot is not None and slot.stopping is None and slot.trial is not None:
            self._progress.notice(f"trial {slot.trial.number}: {reason}; stopped here")
            slot.stop(keep=False)

    def _on_trainer_lost(self, slot: Slot) -> None:
        trial, stopping = slot.trial, slot.stopping
        how, what = slot.lost(), ""
        # A trial that was being released, or that an unhealthy device killed, has lost no attempt of its own.
        counts = trial is not None and stopping is None and not slot.quarantined
        if trial is not None and counts:
            trial.count_trainer_death()
        if trial is not None and counts and trial.trainer_deaths >= MAX_DEATHS:
            what = f" under trial {trial.number}, which has no attempt left"
            self._finish(slot, trial, given_up(trial, how))
        elif trial is not None and (stopping is None or stopping.keep):
            self.storage_thread.requeue(trial, trainer_died=counts)
            what = f" under trial {trial.number}, which will be resumed"
        slot.trial = None
        self._progress.notice(f"trainer on {slot.spec.device} ended ({how}){what}")
        if slot.quarantined:
            place, count = self.pool.place_of(slot)
            which = f" (trainer {place} of {count})" if count > 1 else ""
            lost = slot.health.lost_in_a_row
            self._progress.notice(f"{slot.spec.device}{which} left alone: {lost} trainers lost in a row")

    # The end ------------------------------------------------------------------------------------------------------

    def _reason_to_stop(self) -> str:
        if self.interrupted:
            return "signal"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "deadline"
        if self.storage_thread.outage.seconds > self._patience_seconds:
            return "database"
        self.pool.check()
        counts = self.counts
        if self._ending and not self.pool.busy:
            return "stopped"
        if counts.trials_target is not None and counts.finished >= counts.trials_target:
            return "trials"
        idle = not self._waiting and not self.pool.busy and not counts.running and not counts.waiting
        return ("converged" if counts.converged else "exhausted") if counts.exhausted and idle else ""

    def _release_everything(self) -> None:
        """Checkpoint and requeue what runs within STOP_SECONDS; kill what does not answer. Nothing is lost."""
        self.storage_thread.want(0, self.pool.report())
        self.pool.stop()
        limit = time.monotonic() + STOP_SECONDS
        while self.pool.busy and time.monotonic() < limit:
            self._turn(0.1)
        for trial in [*self._waiting, *(slot.trial for slot in self.pool.slots if slot.trial is not None)]:
            self.storage_thread.requeue(trial)
        self.pool.kill()
        if self._own_trials is not None:
            self._own_trials.close()
