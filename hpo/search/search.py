"""A search from opening to closing: the one way into this folder."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.engine import Engine

from hpo.errors import StorageError
from hpo.result import Result
from hpo.search.code import code_facts
from hpo.search.identity import own_identity
from hpo.search.listening import Listeners, heard
from hpo.search.loop import Loop
from hpo.search.one_trial import OneTrialLoop
from hpo.search.options import RunOptions
from hpo.search.outage import persistently
from hpo.search.parts import (
    connect,
    endless,
    inspect,
    listeners_for,
    open_for,
    patience,
    say,
    search_progress,
    slot_specs,
    spawn,
    storage_thread,
)
from hpo.search.reporting import SearchProgress
from hpo.settings import Settings
from hpo.signals import caught_signals, waker, why_left
from hpo.storage.journal import Origin, keep, replay
from hpo.storage.optuna_schema import STATES
from hpo.storage.queries import WriteBatch
from hpo.storage.schema import ensure_schema
from hpo.study.advice import check_search, wasteful
from hpo.study.discovery import FoundStudy
from hpo.trainers.jobs import trainer_for
from hpo.trainers.memory import available_bytes, check_memory
from hpo.trainers.preflight import request
from hpo.trainers.slot import Slot

__all__ = ["Search", "run_search"]

SAY_SECONDS = 1.5
"""The last writes take less than this unless the database is away; then the user is told what the run waits for."""


def run_search(found: FoundStudy, options: RunOptions, settings: Settings) -> Result:
    """Search on this host until the budget is used up or a signal comes. Raises HpoError as `hpo.run` does."""
    listeners = listeners_for(found, options)

    def run() -> Result:
        with Search.open(found, options, settings, listeners) as search:
            if options.on_started is not None:
                options.on_started(search.stop)
            stopped = search.run()
        return search.result(stopped)

    return heard(listeners, run)


def _settle(engine: Engine, home: Path) -> list[str]:
    """Bring the tables up to date and replay the journals of this database. Returns what to tell the user."""
    ensure_schema(engine)
    return replay(engine, home)


@dataclass
class Wakeup:
    """A pair of sockets: the loop sleeps on one end, signals and the storage thread write to the other."""

    sleeper: socket.socket
    waker: socket.socket

    @classmethod
    def make(cls) -> Wakeup:
        ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        return cls(*ends)

    def close(self) -> None:
        self.sleeper.close()
        self.waker.close()


@dataclass(frozen=True)
class Kept:
    """What became of results that could not be saved, in a sentence; `saved` if they are in the journal."""

    sentence: str
    saved: bool


class Search:
    """One coordinator at work on one study: `open`, `run`, `close`."""

    def __init__(
        self,
        loop: Loop,
        progress: SearchProgress,
        origin: Origin,
        settings: Settings,
        wakeup: Wakeup,
    ) -> None:
        self.loop, self.progress = loop, progress
        self.storage_thread = loop.storage_thread
        self._found, self._origin, self._settings, self._wakeup = loop.found, origin, settings, wakeup

    @classmethod
    def open(
        cls, found: FoundStudy, options: RunOptions, settings: Settings, listeners: Listeners | None = None
    ) -> Self:
        """Find the slots, open the study, and connect loop and storage thread.

        Every refusal happens here, before the first trial, and leaves no trainer running.
        """
        timeout_seconds = options.timeout_seconds
        leave_at = time.monotonic() + timeout_seconds if timeout_seconds is not None else None
        check_search(found.study)
        specs = slot_specs(found, options, settings)
        sizes = [len(spec.devices) for spec in specs]
        check_memory(sizes.count(1), available_bytes(), ranks=sum(size for size in sizes if size > 1))
        options = replace(options, trainer=tuple(trainer_for(found, options.trainer)))
        slots = [Slot(index, spec, partial(spawn, options)) for index, spec in enumerate(specs)]
        wakeup = Wakeup.make()
        try:
            return cls._open(found, options, leave_at, settings, slots, wakeup, listeners or Listeners())
        except BaseException:
            for slot in slots:
                slot.kill()
            wakeup.close()
            raise

    @classmethod
    def _open(
        cls,
        found: FoundStudy,
        options: RunOptions,
        leave_at: float | None,
        settings: Settings,
        slots: Sequence[Slot],
        wakeup: Wakeup,
        listeners: Listeners,
    ) -> Self:
        # The first trainer starts together with the database, because loading torch takes as long. It inspects the
        # study only afterwards: reading the images writes a cache, and a refusal must leave nothing behind.
        begin = options.on_phase or (lambda _: None)
        begin("starting the database and the first trainer")
        slots[0].start()
        identity, facts = own_identity(), code_facts()
        engine = connect(options, settings)
        slots[0].send(request(found))
        begin("loading torch and checking the study")
        checksum = inspect(found, slots[0], options, leave_at)
        begin("opening the study")
        replayed = persistently(engine, lambda: _settle(engine, settings.home), patience(options, settings))
        opened = open_for(engine, found, options, leave_at, settings, identity, facts, checksum)
        wake = waker(wakeup.waker)
        thread, own_trials = storage_thread(engine, found, opened, len(slots), options, settings, identity, wake)
        facts = {**facts, "worker": identity.worker_id, "host": identity.host}
        listeners.tell("opened", found.study.name, opened.uid)
        progress = search_progress(found, options, thread, facts, listeners)
        wastes = [f"note: {sentence}" for sentence in wasteful(found.study)]
        notes = [*opened.evolved, opened.agreed.message, opened.note, opened.retried, thread.sampler_note, *wastes]
        say(options, [*replayed, *notes, endless(found, options, opened.agreed)])
        made = Loop if options.foreground is None else OneTrialLoop
        loop = made(found, thread, slots, progress, wakeup.sleeper, settings.patience_seconds, own_trials)
        if leave_at is not None and (options.worker or opened.agreed.leave_seconds is not None):
            loop.leave_at = loop.deadline = leave_at  # else it is the study's, kept in the database
        loop.leave_trials = opened.agreed.leave_trials
        origin = Origin(opened.uid, opened.study_id, identity.worker_id)
        return cls(loop, progress, origin, settings, wakeup)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wakeup.close()

    def stop(self) -> None:
        """End `run` soon, from any thread, as Ctrl-C would."""
        self.loop.interrupted = True

    def run(self) -> str:
        """Search, and return why it stopped, as in Result.stopped. By then everything is saved, or kept in the journal.

        Raises StorageError when the database was away at the end, and what the loop raises.
        """
        with caught_signals(self.loop, self._wakeup.waker) as received:
            try:
                reason = self.loop.run()
            finally:
                kept = self.close(self._closing_seconds(interrupted=bool(received)))
        self.loop.handle_events()  # the database may be back only now
        self.progress.show(self.loop.counts, self.loop.deadline, [], last=True)
        self.progress.close()
        if kept or reason == "database":
            raise self._not_saved(kept)
        return why_left(received) if reason == "signal" else reason

    def close(self, patience_seconds: float) -> Kept | None:
        """Write what is left within `patience_seconds`. Returns what became of the rest; None when all is written."""
        left = self._write(patience_seconds)
        return self._keep(left) if left else None

    def result(self, stopped: str) -> Result:
        """The study as this host knows it."""
        return Result(
            self._found.study.name, stopped, self.progress.best(), self._counts(), tuple(self.storage_thread.trials())
        )

    def _closing_seconds(self, *, interrupted: bool) -> float:
        """How long to wait for the database at the end. A process that gets a signal has eight seconds in all."""
        return 3.0 if interrupted else max(1.0, self._settings.patience_seconds - self.storage_thread.outage.seconds)

    def _write(self, patience_seconds: float) -> WriteBatch:
        """Write what is left, and return what could not be written. Tells the user when that takes a while."""
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + patience_seconds))
        journal = self._settings.home / "journal"
        waiting = f"waiting for the database until {until}; unsaved results are then written to {journal}"
        notice = threading.Timer(SAY_SECONDS, self.progress.notice, [waiting])
        notice.daemon = True
        notice.start()
        try:
            return self.storage_thread.close(patience_seconds)
        finally:
            notice.cancel()

    def _keep(self, left: WriteBatch) -> Kept:
        """Write unsaved results to the journal, and say so in one line."""
        home = self._settings.home
        outcomes = f"{len(left.finishes)} outcome{'s' if len(left.finishes) != 1 else ''}"
        try:
            kept = Kept(f"{outcomes} kept in {keep(home, self._origin, left)}", saved=True)
        except OSError as error:
            reason = error.strerror or error
            kept = Kept(f"{outcomes} could not be kept in {home / 'journal'} ({reason})", saved=False)
        self.progress.notice(kept.sentence)
        return kept

    def _not_saved(self, kept: Kept | None) -> StorageError:
        full = self.storage_thread.outage.disk_full
        again = f"`hpo run --study {self._found.reference or self._found.study.name}`"
        first = "when there is room on its disk" if full else "when the database is back"
        saves = "saves these results and resumes" if kept is None or kept.saved else "trains these trials again"
        return StorageError(
            f"the {'disk of the database was full' if full else 'database was away'} when this process had to leave",
            evidence=[kept.sentence if kept else "it came back at the last moment and has every result"],
            next=f"{first}, {again} {saves}{'' if kept is None or kept.saved else ', from their last checkpoints'}",
        )

    def _counts(self) -> Mapping[str, int]:
        """Trials by state at the end, as the database counts them, or as this host knows them while it is away."""
        if self.storage_thread.last_counts is not None:
            return self.storage_thread.last_counts.as_mapping()
        counts = dict.fromkeys(STATES.values(), 0)
        for trial in self.storage_thread.trials():
            counts[STATES[trial.state]] += 1
        return counts
