"""The coordinator's only way to the database: one thread, one connection, everything in batches.

The loop calls `report`, `finish` and `requeue`; they change the study in memory and return at once. This thread writes
what changed, renews leases, reads what other hosts did, and asks the sampler for the next trials ahead of need, so no
device ever waits for Postgres. While the database is away it keeps everything, in order, and tries again.
"""

from __future__ import annotations

import json
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hpo.coordinator.asking import Asker
from hpo.coordinator.leases import Reaper
from hpo.coordinator.trial import COUNT_NAMES, Assigned, Away, Back, Broken, Counts, Event, Lost, Saved, Trial
from hpo.messages import Epoch
from hpo.storage import rows
from hpo.storage.engine import is_outage
from hpo.storage.rows import EpochRow, Requeue, Writes

__all__ = ["Ledger"]

FLUSH_SECONDS = 1.0
"""How long a report may wait for company. Outcomes never wait."""


class Ledger:
    """Everything between a coordinator and its database.

    wake: called from the ledger's thread whenever `events` has something for the loop.
    """

    def __init__(
        self,
        engine: Engine,
        asker: Asker,
        reaper: Reaper,
        *,
        worker_id: str,
        lease_seconds: float,
        wake: Callable[[], None],
    ) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.asker = asker
        self.ask_seconds = 0.1
        self.away_since: float | None = None
        self.last_counts: Counts | None = None
        self._engine = engine
        self._reaper = reaper
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._wake_loop = wake
        self._slots: Sequence[Mapping[str, Any]] = ()
        self._wanted = 0
        self._lock = threading.Lock()
        # A write is in the mirror (or here, for epochs), then in flight, then in the database.
        self._epochs: list[EpochRow] = []
        self._in_flight = Writes()
        self._sampled: list[Trial] = []
        self._orphans: set[int] = set()
        self._nudge = threading.Event()
        self._closing = threading.Event()
        self._last_renewal = -1e9
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    # Called by the loop -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def want(self, trials: int, slots: Sequence[Mapping[str, Any]]) -> None:
        """How many trials the loop could use now or soon, and what its slots are doing (for `hpo status`)."""
        self._slots = slots
        if trials != self._wanted:
            self._wanted = trials
            self._nudge.set()

    def report(self, trial: Trial, message: Epoch) -> None:
        """Keep an epoch's metrics and, for the pruner, its objective values."""
        for step, value in message.report:
            self.asker.mirror.set_trial_intermediate_value(trial.trial_id, step, value)
        with self._lock:
            self._epochs.append(EpochRow(trial.trial_id, message.epoch, **message.metrics, seconds=message.seconds))

    def finish(
        self,
        trial: Trial,
        state: TrialState,
        values: Sequence[float] | None,
        attributes: Mapping[str, Any],
        constraints: Mapping[str, float],
    ) -> None:
        """Record the end of a trial. Written at once, and kept until the database has it."""
        self.asker.tell(trial.trial_id, state, values, attributes, constraints)
        self._nudge.set()

    def requeue(self, trial: Trial, *, attempts: int = 0) -> None:
        """Put a trial down unfinished, for this or another host to go on with."""
        self.asker.mirror.requeue(Requeue(trial.trial_id, attempts, trial.checkpoint))
        self._nudge.set()

    def close(self, patience_seconds: float) -> Writes:
        """Write what is left, for at most `patience_seconds`, and return what could not be written."""
        self._wanted = 0
        self._closing.set()
        self._nudge.set()
        self._thread.join(patience_seconds)
        self._collect()
        return self._in_flight

    # The thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while True:
            try:
                self._tick()
                self._note_back()
                failures, pause = 0, FLUSH_SECONDS
            except Exception as error:  # noqa: BLE001  # a thread's error must reach the loop, whatever it is
                if not is_outage(error):
                    self._emit(Broken(error))
                    return
                self._note_away(error)
                failures += 1
                # Jitter, or every host of a fleet comes back in the same instant.
                pause = min(0.2 * 2 ** min(failures, 5), 5.0) * random.uniform(0.5, 1.0)
                self._nudge.clear()
            if self._closing.is_set() and not failures and self._nothing_left():
                self._leave()
                return
            self._nudge.wait(pause)
            self._nudge.clear()

    def _tick(self) -> None:
        renew = time.monotonic() - self._last_renewal > self._lease_seconds / 6
        self._collect()
        if not self._in_flight and not renew and not self._sampled and self._wanted <= 0:
            return
        sampled = list(self._sampled)
        with self._engine.begin() as connection:
            lost = rows.save(connection, self._in_flight, self._worker_id).lost
            if renew:
                self._renew(connection)
            claims = self._claim(connection) if self._wanted > 0 else []
        if self._in_flight.finishes:
            self._emit(Saved(tuple(self._in_flight.finishes)))
        self._in_flight = Writes()
        for trial_id in self._orphans:
            self._in_flight.requeue(Requeue(trial_id))
        self._orphans = set()
        self._lose(lost)
        self._hand_out(sampled)
        if claims:
            self._sample(claims)

    def _collect(self) -> None:
        """Move everything noted so far into the next transaction, behind what an outage left there."""
        fresh = self.asker.mirror.take_writes()
        with self._lock:
            for row in self._epochs:
                fresh.epoch(row)
            self._epochs.clear()
        self._in_flight.merge(fresh)

    def _leave(self) -> None:
        """Let go of what was claimed but never trained, and sign off."""
        try:
            with self._engine.begin() as connection:
                rows.release_worker(connection, self._worker_id, attempt_delta=0)
                self.last_counts = self._count(connection)
        except SQLAlchemyError:
            pass  # the lease runs out, or the next process on this machine sees that this one is gone

    def _nothing_left(self) -> bool:
        self._collect()
        return not self._in_flight

    def _renew(self, connection: Connection) -> None:
        """Once every sixth of a lease: keep ours, notice what was taken, free what others let go of."""
        ours = set(self.asker.mirror.own_ids())
        held = rows.renew(connection, self._worker_id, self._lease_seconds, json.dumps(self._slots)).held
        self._last_renewal = time.monotonic()
        self._lose(ours - {trial_id for trial_id, state in held.items() if state is TrialState.RUNNING})
        # A connection that broke during a commit: the lease was written, but we never heard of it. A trial that the loop
        # ended this very moment looks the same; its own outcome is in the next batch too, and wins there.
        self._orphans = held.keys() - ours
        self._reaper.visit(connection)
        self._emit(self._count(connection))

    def _claim(self, connection: Connection) -> list[rows.Claim]:
        """Lease trials, in the flush's transaction: those put down earlier first, then new ones."""
        claims = self.asker.claim(connection, self._worker_id, self._lease_seconds, self._wanted)
        if len(claims) < self._wanted:
            self._emit(self._count(connection, exhausted=not claims))
        return claims

    def _sample(self, claims: Sequence[rows.Claim]) -> None:
        """Ask the sampler. The trials are handed out once their parameters are in the database: a trial that anybody
        trains must be resumable under the same ones."""
        started = time.monotonic()
        for claim in claims:
            self._sampled.append(self.asker.sample(claim))
        self.ask_seconds += 0.3 * ((time.monotonic() - started) / len(claims) - self.ask_seconds)
        self._wanted = max(0, self._wanted - len(claims))
        self._nudge.set()

    def _hand_out(self, sampled: Sequence[Trial]) -> None:
        for trial in sampled:
            self._sampled.remove(trial)
            self._emit(Assigned(trial))

    def _lose(self, trial_ids: Iterable[int]) -> None:
        for trial_id in trial_ids:
            self.asker.mirror.drop(trial_id)
            self._emit(Lost(trial_id, "it was ended or taken from outside"))

    def _count(self, connection: Connection, *, exhausted: bool = False) -> Counts:
        budget = rows.budget(connection, self.asker.study_id)
        counts = {COUNT_NAMES[state]: number for state, number in budget.counts.items()}
        return Counts(
            **counts, seconds_left=budget.seconds_left, trials_target=budget.trials_target, exhausted=exhausted
        )

    def _note_away(self, error: Exception) -> None:
        if self.away_since is None:
            self.away_since = time.monotonic()
            self._emit(Away(str(getattr(error, "orig", error)).strip().split("\n")[0]))

    def _note_back(self) -> None:
        if self.away_since is not None:
            self._emit(Back(time.monotonic() - self.away_since))
            self.away_since = None
            # Leases ran out while nobody could renew them: their owners get the time of a first pass to do so.
            self._reaper.forget()

    def _emit(self, event: Event) -> None:
        self.events.put(event)
        self._wake_loop()
