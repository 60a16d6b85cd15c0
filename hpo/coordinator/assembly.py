"""Putting a coordinator together from its parts."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from hpo.coordinator.asking import Asker
from hpo.coordinator.budget import Agreed
from hpo.coordinator.code import code_facts
from hpo.coordinator.devices import find_slots
from hpo.coordinator.identity import own_identity
from hpo.coordinator.inspection import inspect_with, request
from hpo.coordinator.leases import Reaper
from hpo.coordinator.ledger import Ledger
from hpo.coordinator.loop import Loop
from hpo.coordinator.memory import available_bytes, check_memory
from hpo.coordinator.opening import Opening, open_study
from hpo.coordinator.outage import persistently
from hpo.coordinator.progress import Progress
from hpo.coordinator.sharing import sharing
from hpo.coordinator.slot import Slot, SlotSpec
from hpo.coordinator.snapshot import Snapshot
from hpo.coordinator.tensorboard import TensorBoardProgress
from hpo.coordinator.trainer_process import TRAINER, TrainerProcess
from hpo.discovery import FoundStudy
from hpo.samplers import Grid
from hpo.settings import Settings
from hpo.storage.embedded import embedded_url
from hpo.storage.engine import open_engine, resolve_url
from hpo.storage.journal import Origin, keep, replay
from hpo.storage.rows import Writes

__all__ = ["Assembled", "RunOptions", "assemble"]

SAY_SECONDS = 1.5
"""The last writes take less than this, unless the database is away."""


@dataclass(frozen=True)
class RunOptions:
    """What `hpo run` and `hpo worker` are told; see their --help.

    tensorboard: a folder for TensorBoard's event files
    on_started: called once with a function that stops the run from any thread, as Ctrl-C would
    trainer: the command that starts a trainer; tests of the coordinator give one that speaks hpo.messages without torch
    """

    timeout: str | float | None = None
    trials: int | None = None
    storage: str | None = None
    devices: str | None = None
    workers: int | None = None
    workers_per_gpu: int | Literal["auto"] = 1
    enqueue_known: bool = False
    changed_code: bool = False
    worker: bool = False
    ray: str | None = None
    tensorboard: str | None = None
    on_snapshot: Callable[[Snapshot], None] | None = None
    on_notice: Callable[[str], None] | None = None
    on_started: Callable[[Callable[[], None]], None] | None = None
    trainer: Sequence[str] = TRAINER


@dataclass(frozen=True)
class Assembled:
    """The parts of one coordinator, ready to run."""

    loop: Loop
    ledger: Ledger
    asker: Asker
    progress: Progress
    origin: Origin
    home: Path

    def close(self, patience_seconds: float) -> Writes:
        """Write what is left, for at most so long; what could not be written. Says so when that takes a while."""
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + patience_seconds))
        waiting = (
            f"waiting until {until} for the database; what it has not taken by then goes to {self.home / 'journal'}"
        )
        notice = threading.Timer(SAY_SECONDS, self.progress.notice, [waiting])
        notice.daemon = True
        notice.start()
        try:
            return self.ledger.close(patience_seconds)
        finally:
            notice.cancel()

    def keep(self, left: Writes) -> str:
        """Put what the database did not take into the journal, and say so in one line."""
        outcomes = f"{len(left.finishes)} outcome{'s' if len(left.finishes) != 1 else ''}"
        try:
            sentence = f"{outcomes} kept in {keep(self.home, self.origin, left)}"
        except OSError as error:
            sentence = (
                f"{outcomes} could not be kept in {self.home / 'journal'} ({error.strerror}): these trials resume"
            )
        self.progress.notice(sentence)
        return sentence

    def counts(self) -> Mapping[str, int]:
        """Trials by outcome at the end: the database's word, or this host's knowledge where that could not be had."""
        if self.ledger.last_counts is not None:
            return self.ledger.last_counts.as_mapping()
        names = {
            "COMPLETE": "complete",
            "PRUNED": "pruned",
            "FAIL": "failed",
            "RUNNING": "running",
            "WAITING": "waiting",
        }
        counts = dict.fromkeys(names.values(), 0)
        for trial in self.asker.trials():
            counts[names[trial.state.name]] += 1
        return counts


def assemble(
    found: FoundStudy,
    options: RunOptions,
    timeout_seconds: float | None,
    settings: Settings,
    wakeup: socket.socket,
    wake: Callable[[], None],
) -> Assembled:
    """Find the slots, open the study, and connect ledger and loop. Every refusal happens here, before a trial."""
    specs = _specs(found, options, settings)
    check_memory(len(specs), available_bytes())
    slots = [Slot(index, spec, partial(_spawn, options.trainer)) for index, spec in enumerate(specs)]
    try:
        return _assemble(found, options, timeout_seconds, settings, slots, wakeup, wake)
    except BaseException:
        for slot in slots:
            slot.kill()
        raise


def _specs(found: FoundStudy, options: RunOptions, settings: Settings) -> list[SlotSpec]:
    def specs(workers_per_gpu: int) -> list[SlotSpec]:
        devices = options.devices or settings.devices
        return find_slots(devices, workers=options.workers, workers_per_gpu=workers_per_gpu, environ=os.environ)

    if options.workers_per_gpu != "auto":
        return specs(options.workers_per_gpu)
    alone = specs(1)
    gpu = next((spec.device for spec in alone if spec.device.startswith("cuda")), None)
    return alone if gpu is None else specs(sharing(found, gpu, options.trainer))


def _assemble(
    found: FoundStudy,
    options: RunOptions,
    timeout_seconds: float | None,
    settings: Settings,
    slots: list[Slot],
    wakeup: socket.socket,
    wake: Callable[[], None],
) -> Assembled:
    leave_at = time.monotonic() + timeout_seconds if timeout_seconds is not None else None
    # The first trainer starts while the database does: it needs as long to load torch as that takes. It is asked about
    # the study only then, because looking at the images writes a cache, and a refusal is to leave nothing behind.
    slots[0].start()
    identity, facts = own_identity(), code_facts()
    worker_id = identity.worker_id
    # A statement that hangs must be given up in time for another try before the lease runs out.
    statement_seconds = min(30.0, max(3.0, settings.lease_seconds / 3))
    engine = open_engine(resolve_url(settings, options.storage), statement_seconds=statement_seconds)
    persistently(engine, lambda: engine.connect().close())
    slots[0].send(request(found))
    _inspect(found, slots[0])
    opening = Opening(
        create=not options.worker,
        budget="keep" if options.worker else "set",
        timeout_seconds=None if leave_at is None else max(0.0, leave_at - time.monotonic()),
        trials_target=options.trials,
        enqueue_known=options.enqueue_known,
        changed_code=options.changed_code,
    )
    replayed = persistently(engine, lambda: replay(engine, settings.home))
    opened = persistently(
        engine,
        lambda: open_study(engine, found, opening, worker_id, identity, facts, live_seconds=settings.lease_seconds),
    )
    checkpoints = settings.checkpoint_dir / f"{found.study.name}-{opened.uid}"
    asker = Asker(found.study, opened.study_id, opened.mirror, checkpoints, identity.host, len(slots))
    embedded = options.storage is None and settings.storage is None
    revive: Callable[[], object] = partial(embedded_url, settings.home) if embedded else lambda: None
    reaper = Reaper(opened.study_id, identity, grace_seconds=settings.lease_seconds / 2)
    ledger = Ledger(
        engine, asker, reaper, worker_id=worker_id, lease_seconds=settings.lease_seconds, wake=wake, revive=revive
    )
    watching = (asker, {**facts, "worker": worker_id, "host": identity.host}, options.on_snapshot, options.on_notice)
    progress = Progress(*watching)
    if options.tensorboard is not None:
        progress = TensorBoardProgress(options.tensorboard, found.study, *watching)
    say = options.on_notice or logging.getLogger("hpo").warning
    for sentence in (*replayed, opened.agreed.said, opened.note, _endless(found, options, opened.agreed)):
        if sentence:
            say(sentence)
    loop = Loop(found, ledger, slots, progress, wakeup, settings.patience_seconds)
    if leave_at is not None and (options.worker or opened.agreed.leave_seconds is not None):
        loop.leave_at = loop.deadline = leave_at  # else it is the study's, kept in the database
    loop.leave_trials = opened.agreed.leave_trials
    origin = Origin(opened.uid, opened.study_id, worker_id)
    return Assembled(loop, ledger, asker, progress, origin, settings.home)


def _endless(found: FoundStudy, options: RunOptions, agreed: Agreed) -> str:
    limits = (options.timeout, options.trials, agreed.budget.seconds_left, agreed.budget.trials_target)
    if options.worker or isinstance(found.study.sampler, Grid) or any(limit is not None for limit in limits):
        return ""
    return "neither timeout nor trials were given: this goes on until Ctrl-C"


def _inspect(found: FoundStudy, slot: Slot) -> None:
    """Refuse a study whose networks cannot be built or whose images are not there. The trainer then goes on to train.

    One that died over it is the loop's to explain, as any trainer that dies.
    """
    assert slot.process is not None
    answer = inspect_with(slot.process, found.study.name)
    if answer is None:
        slot.lost()
    else:
        slot.ready = answer[0]


def _spawn(command: Sequence[str], spec: SlotSpec) -> TrainerProcess:
    return TrainerProcess(spec.device, command=command, arguments=spec.arguments, environ=os.environ)
