"""The coordinator's only way to the database: one thread, one connection, everything in batches.

The loop calls `report`, `finish` and `requeue`, which change the study in memory and return at once. This thread writes
that, renews leases, reads what others did, and asks the sampler for trials before they are needed, so that no device
waits for PostgreSQL. While the database is away it keeps everything, in order, and tries again.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hpo.disk import is_full
from hpo.errors import StorageError
from hpo.messages import Epoch
from hpo.search.ask_tell import AskTell
from hpo.search.events import Counts, Event, FatalError, Notice, TrialAssigned, TrialLost, TrialRefused, TrialsSaved
from hpo.search.live_counts import LiveCounts
from hpo.search.outage import Outage, explained
from hpo.search.reaper import Reaper
from hpo.search.restraint import Restraint
from hpo.search.waiting import IdleNotice
from hpo.storage import queries
from hpo.storage.engine import is_outage
from hpo.storage.queries import EpochRow, Requeue, SaveResult, WriteBatch
from hpo.trainers.trial import Trial

__all__ = ["StorageThread"]


class StorageThread:
    """Everything between a coordinator and its database, including the study in memory, which nobody else holds.

    The loop's thread calls the public methods, takes from `events`, and reads `ask_seconds` (what one trial costs the
    sampler), `outage` and, after `close`, `last_counts`. Only `close` waits for the database.

    wake:   called from this thread whenever `events` has something for the loop
    revive: called from this thread when the database does not answer; starts the embedded server if that was killed
    """

    def __init__(
        self,
        engine: Engine,
        ask_tell: AskTell,
        reaper: Reaper,
        *,
        worker_id: str,
        lease_seconds: float,
        wake: Callable[[], None],
        revive: Callable[[], object] = lambda: None,
    ) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.ask_seconds = 0.1
        self.outage = Outage(longest_pause=min(5.0, lease_seconds / 6))
        self.last_counts: Counts | None = None
        self._engine, self._ask_tell, self._reaper = engine, ask_tell, reaper
        self._worker_id, self._lease_seconds = worker_id, lease_seconds
        self._wake_loop, self._revive = wake, revive
        self._slots: Sequence[Mapping[str, Any]] = ()
        self._wanted, self._asking, self._restraint = 0, True, Restraint(lease_seconds)
        # A write is in the cache, then in flight, then in the database.
        self._lock, self._in_flight = threading.RLock(), WriteBatch()
        self._sampled: list[Trial] = []
        self._orphans: set[int] = set()
        self._idle = IdleNotice(ask_tell.study_id, worker_id)
        self._wake, self._closing = threading.Event(), threading.Event()
        self._abandoned, self._last_renewal = False, -1e9
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)

    # Called by the loop -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def want(self, trials: int, slots: Sequence[Mapping[str, Any]]) -> None:
        """How many trials the loop could use now or soon, and what its slots are doing (for `hpo status`)."""
        self._slots = slots
        if trials != self._wanted:
            self._wanted = trials
            self._wake.set()

    def report(self, trial: Trial, message: Epoch) -> None:
        """Keep an epoch's metrics and, for the pruner, its objective values."""
        epoch = EpochRow(trial.trial_id, message.epoch, **message.metrics, seconds=message.seconds, metrics=message.own)
        self.record(lambda: self._ask_tell.report(trial, epoch, message), trial)

    def finish(
        self,
        trial: Trial,
        state: TrialState,
        values: Sequence[float] | None,
        attributes: Mapping[str, Any],
        constraints: Mapping[str, float],
    ) -> None:
        """Record the end of a trial. Written at once, and kept until the database has it."""
        self.record(lambda: self._ask_tell.tell(trial.trial_id, state, values, attributes, constraints), trial)
        self._wake.set()

    def requeue(self, trial: Trial, *, trainer_died: bool = False) -> None:
        """Release a trial unfinished, for this or another host; `trainer_died` costs it an attempt."""
        self.record(lambda: self._ask_tell.requeue(trial, trainer_died=trainer_died), trial)
        self._wake.set()

    def should_prune(self, trial: Trial) -> bool:
        """The pruner's decision on what was reported so far, in memory."""
        return self._ask_tell.should_prune(trial)

    @property
    def sampler_note(self) -> str:
        """What the user should know of the sampler; "" when there is nothing."""
        return self._ask_tell.note

    def trials(self) -> list[FrozenTrial]:
        """Every trial of the study, by number, as this host knows them. Not copies: do not change them."""
        return self._ask_tell.trials()

    def finished_since(self, revision: int) -> tuple[list[FrozenTrial], int]:
        """Trials that ended, or were taken back, since that revision of the study, and the revision it has now."""
        return self._ask_tell.cache.finished_since(revision)

    def live_counts(self) -> LiveCounts:
        """Counts for the person watching; the loop's own from now on."""
        return LiveCounts(self._ask_tell.cache, self._ask_tell.study_id, self._ask_tell.claimed)

    def close(self, patience_seconds: float) -> WriteBatch:
        """Write what is left, for at most `patience_seconds`, and return what could not be written. Some of that may
        reach the database all the same, when an answer was under way; writing it again is harmless."""
        self._wanted = 0
        self._closing.set()
        self._wake.set()
        self._thread.join(patience_seconds)
        with self._lock:
            self._abandoned = True
            return self._collect()

    def record(self, change: Callable[[], None], trial: Trial) -> None:
        """Apply `change` to the study in memory, unless the trial was ended or taken meanwhile: then it is no longer
        ours to change, and a TrialLost for the loop is on its way."""
        if self._ask_tell.cache.owns(trial.trial_id):
            with suppress(UpdateFinishedTrialError):
                change()

    # This thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._abandoned:
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001  # a thread's error must reach the loop, whatever it is
                if is_outage(error):
                    self._record_outage(error)
                    self._wake.clear()
                    self._wake.wait(self.outage.pause())
                elif not self._can_go_on(error):
                    return
                continue
            self._emit(self.outage.worked())
            if self._closing.is_set() and not self._collect():
                self._sign_off()
                return
            self._wake.wait(self._restraint.flush_seconds)
            self._wake.clear()

    def _tick(self) -> None:
        renew = time.monotonic() - self._last_renewal > self._lease_seconds / 6
        wanted = self._wanted if self._asking else 0
        if not (self._collect() or renew or self._sampled or wanted):
            return
        if wanted:
            self._say(self._ask_tell.plan(wanted))
            self._say(self._ask_tell.end_waiting(self._engine, self._worker_id))
        with self._engine.connect() as connection:
            # A transaction for each statement is one message in place of three. To do one twice changes nothing.
            connection.execution_options(isolation_level="AUTOCOMMIT")
            saved = queries.save(connection, self._in_flight, self._worker_id)
            if renew:
                self._renew(connection)
            self._written(saved)
            self._assign()
            claims = self._claim(connection, wanted) if wanted else []
        if claims:
            self._sample(claims)

    def _claim(self, connection: Connection, wanted: int) -> list[queries.Claim]:
        """Lease trials, and read what others did before they are sampled."""
        claims = self._ask_tell.claim(connection, self._worker_id, self._lease_seconds, wanted)
        # If this fails, the claims are orphans, which the next renewal releases.
        self._ask_tell.synchronise(connection, [claim.trial_id for claim in claims])
        if len(claims) < wanted:
            self._emit(self._ask_tell.count(connection, exhausted=not claims))
        self._say_if_idle(connection, claims)
        return claims

    def _say_if_idle(self, connection: Connection, claims: Sequence[queries.Claim]) -> None:
        if claims or self._ask_tell.cache.own_ids():
            self._idle.busy()
        else:
            self._say(self._idle.sentence(connection))

    def _written(self, saved: SaveResult) -> None:
        """What was in flight is in the database, or was lost."""
        if saved.finished:
            self._ask_tell.cache.date(saved.finished)
            self._emit(TrialsSaved(tuple(saved.finished)))
        self._in_flight = WriteBatch()
        for trial_id in self._orphans:
            self._in_flight.requeue(Requeue(trial_id))
        self._orphans.clear()
        self._drop(saved.lost)

    def _collect(self) -> WriteBatch:
        """Move everything recorded so far into the next transaction, behind what an outage left there."""
        with self._lock:
            self._in_flight.merge(self._ask_tell.cache.take_writes())
            return self._in_flight

    def _sign_off(self) -> None:
        """Free what was claimed but never trained, and sign off."""
        # If this fails, the lease runs out, or the next process on this machine sees that this one is gone.
        with suppress(SQLAlchemyError):
            self._say(self._ask_tell.end_waiting(self._engine, self._worker_id, closing=True))
        with suppress(SQLAlchemyError), self._engine.begin() as connection:
            queries.sign_off(connection, self._worker_id)
            self.last_counts = self._ask_tell.count(connection)

    def _renew(self, connection: Connection) -> None:
        """Once every sixth of a lease: keep ours, notice what was taken, free what others have lost."""
        ours = set(self._ask_tell.cache.own_ids())
        held, expired = queries.renew_and_look(
            connection, self._worker_id, self._lease_seconds, json.dumps(self._slots), self._ask_tell.study_id
        )
        self._last_renewal = time.monotonic()
        running = {trial_id for trial_id, state in held.items() if state is TrialState.RUNNING}
        self._drop(ours - running)
        # A connection that broke during a commit: the lease was written, but we never heard of it. A trial that the
        # loop ended this very moment looks the same; its own outcome is in the next batch too, and wins there.
        self._orphans = running - ours
        self._reaper.free(connection, expired)
        self._emit(self._ask_tell.count(connection, again=self._restraint.is_time_to_count()))

    def _sample(self, claims: Sequence[queries.Claim]) -> None:
        """Ask the sampler. The trials are handed out once their parameters are in the database: a trial that anybody
        trains must be resumable under the same ones."""
        started = time.monotonic()
        for claim in claims:
            if reason := self._ask_tell.refuse(claim):
                self._emit(TrialRefused(claim.number, reason))
            else:
                self._sampled.append(self._ask_tell.sample(claim))
        self.ask_seconds += 0.3 * ((time.monotonic() - started) / len(claims) - self.ask_seconds)
        self._wanted = max(0, self._wanted - len(claims))
        self._wake.set()

    def _assign(self) -> None:
        while self._sampled:
            trial = self._sampled.pop(0)
            if self._ask_tell.cache.owns(trial.trial_id):
                self._emit(TrialAssigned(trial))

    def _drop(self, trial_ids: Iterable[int]) -> None:
        for trial_id in trial_ids:
            self._ask_tell.cache.drop(trial_id)
            self._emit(TrialLost(trial_id, "it was ended or taken from outside"))

    def _can_go_on(self, error: Exception) -> bool:
        """Tell the loop. After a bug elsewhere, such as in a sampler, the results so far can still be saved, once."""
        self._emit(FatalError(explained(error, self._engine, self._ask_tell.study.name)))
        first, self._asking = self._asking, False
        return first and not isinstance(error, SQLAlchemyError | queries.NoStudy)

    def _record_outage(self, error: Exception) -> None:
        # Leases run out while nobody can renew them: once the database is back, their owners get time to renew them.
        self._reaper.forget()
        self._ask_tell.cache.horizon = self._ask_tell.cache.horizon.after_an_outage()
        self._last_renewal = -1e9
        self._emit(self.outage.failed(error))
        try:
            self._revive()
        except StorageError as error:
            self.outage.disk_full |= is_full(error)

    def _say(self, sentence: str) -> None:
        self._emit(Notice(sentence) if sentence else None)

    def _emit(self, event: Event | None) -> None:
        if isinstance(event, Counts):
            self._restraint.running = event.running
        if event is not None:
            self.events.put(event)
            self._wake_loop()
