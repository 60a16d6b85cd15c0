"""What `Search.open` puts together."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Engine

from hpo.errors import StudyError, UsageError
from hpo.search.ask_tell import AskTell
from hpo.search.budget import BudgetDecision
from hpo.search.callbacks import Callbacks
from hpo.search.identity import Identity
from hpo.search.listening import Listener, Listeners
from hpo.search.notifying import Notifier
from hpo.search.open_study import OpenOptions, OpenStudy, open_study
from hpo.search.options import RunOptions
from hpo.search.outage import Patience, persistently
from hpo.search.own_trials import OwnTrials
from hpo.search.reaper import Reaper
from hpo.search.reporting import SearchProgress
from hpo.search.storage_thread import StorageThread
from hpo.search.tensorboard import TensorBoardProgress
from hpo.search.trackers import make_tracker
from hpo.settings import Settings
from hpo.storage.embedded.embedded import embedded_url
from hpo.storage.engine import open_engine, resolve_url
from hpo.storage.schema import check_installed_optuna, check_schema
from hpo.study.advice import check_may_share
from hpo.study.discovery import FoundStudy
from hpo.study.fields import CALLBACKS
from hpo.study.pausing import can_wait
from hpo.study.samplers import Grid
from hpo.study.study import Study
from hpo.trainers.devices import find_slots
from hpo.trainers.gangs import left_over
from hpo.trainers.per_gpu import choose_trainers_per_gpu
from hpo.trainers.preflight import inspect_with
from hpo.trainers.process import GANG_TRAINER, TRAINER, TrainerProcess
from hpo.trainers.slot import Slot, SlotSpec

if TYPE_CHECKING:
    from hpo.search.planning import Planner

__all__ = [
    "connect",
    "endless",
    "inspect",
    "listeners_for",
    "open_for",
    "patience",
    "say",
    "search_progress",
    "slot_specs",
    "spawn",
    "storage_thread",
]


LONG_SECONDS = 10.0
"""How long importing a user's file may take before the user is told what the run waits for."""


def slot_specs(found: FoundStudy, options: RunOptions, settings: Settings) -> list[SlotSpec]:
    devices, many = options.devices or settings.devices, options.devices_per_trial or found.study.devices_per_trial
    if devices is None and options.trainers is not None:
        devices = "cpu"  # whose trainers are counted so

    def specs(trainers_per_gpu: int, each: int = 1) -> list[SlotSpec]:
        return find_slots(
            devices,
            trainers=options.trainers if each == many else None,
            trainers_per_gpu=trainers_per_gpu,
            environ=os.environ,
            devices_per_trial=each,
        )

    if options.foreground is not None:
        return specs(1)[:1]
    if many > 1:
        check_may_share(found.study, many)
        if options.trainers_per_gpu == "auto":
            raise UsageError("--trainers-per-gpu auto shares GPUs, and --devices-per-trial joins them; leave one out")
        made = specs(options.trainers_per_gpu, many)
        if options.trainers is None:
            say(options, [left_over(specs(1), made)])
        return made
    if options.trainers_per_gpu != "auto":
        return specs(options.trainers_per_gpu)
    if found.study.brings_training:
        raise UsageError(
            "--trainers-per-gpu auto measures a model that hpo trains, and this study's own training has none",
            next="give a number: --trainers-per-gpu 2",
        )
    alone = specs(1)
    gpu = next((spec.device for spec in alone if spec.device.startswith("cuda")), None)
    return alone if gpu is None else specs(choose_trainers_per_gpu(found, gpu, options.trainer))


def spawn(options: RunOptions, spec: SlotSpec) -> TrainerProcess:
    if options.foreground is not None:
        return options.foreground.start(spec.device)
    command = GANG_TRAINER if len(spec.devices) > 1 and options.trainer == TRAINER else options.trainer
    return TrainerProcess(spec.device, command=command, arguments=spec.arguments, environ=os.environ)


def connect(options: RunOptions, settings: Settings) -> Engine:
    """An engine on a database that answers and that this hpo may write to. Raises StorageError otherwise."""
    check_installed_optuna()
    # A statement that hangs must be given up in time for another try before the lease runs out.
    statement_seconds = min(30.0, max(3.0, settings.lease_seconds / 3))
    engine = open_engine(resolve_url(settings, options.storage), statement_seconds=statement_seconds)
    persistently(engine, lambda: check_schema(engine), patience(options, settings))
    return engine


def patience(options: RunOptions, settings: Settings) -> Patience:
    """How long opening waits for the database: no longer than the run is to last."""
    seconds = settings.patience_seconds
    if options.timeout_seconds is not None:
        seconds = min(seconds, options.timeout_seconds)
    return Patience(seconds, revival(options, settings), lambda sentence: say(options, [sentence]))


def revival(options: RunOptions, settings: Settings) -> Callable[[], object] | None:
    """What restarts the embedded server; None if another server is used."""
    embedded = options.storage is None and settings.storage is None
    return partial(embedded_url, settings.home) if embedded else None


def inspect(found: FoundStudy, slot: Slot, options: RunOptions, leave_at: float | None) -> str:
    """Refuse a study whose networks cannot be built or whose images are missing. The trainer is then ready to train.

    Returns the checksum of the train split, "" where there is none. If the trainer dies over this, the loop reports it
    as it reports any trainer that dies.
    """
    assert slot.process is not None
    own = found.study.own
    meanwhile = None if own is None else _patient(own.shown, options, leave_at)
    answer = inspect_with(slot.process, found.study.name, meanwhile)
    if answer is None:
        slot.lost()
        return ""
    slot.ready, inspected = answer
    return str(inspected.data.get("checksum", ""))


def _patient(shown: str, options: RunOptions, leave_at: float | None) -> Callable[[], None]:
    """Says once that importing the user's file takes long; StudyError when the run's time is up over it."""
    say_at = time.monotonic() + LONG_SECONDS

    def look() -> None:
        nonlocal say_at
        now = time.monotonic()
        if leave_at is not None and now >= leave_at:
            raise StudyError(
                f"the time was up while {shown} was still being imported",
                next="give a longer --timeout, or do less at the top of the file",
            )
        if now >= say_at:
            say_at = math.inf
            say(options, [f"{shown} is still being imported: what stands at the top of its file takes long"])

    return look


def open_for(
    engine: Engine,
    found: FoundStudy,
    options: RunOptions,
    leave_at: float | None,
    settings: Settings,
    identity: Identity,
    facts: Mapping[str, Any],
    checksum: str = "",
) -> OpenStudy:
    def attempt() -> OpenStudy:
        opening = OpenOptions(
            create=not options.worker,
            budget="keep" if options.worker or options.foreground is not None else "set",
            timeout_seconds=None if leave_at is None else max(0.0, leave_at - time.monotonic()),
            trials_target=options.trials,
            enqueue_known=options.enqueue_known,
            changed_code=options.changed_code,
            retry_failed=options.retry_failed,
            evolve=options.evolve and not options.worker,
            data_checksum=checksum,
        )
        live_seconds = settings.lease_seconds
        return open_study(engine, found, opening, identity.worker_id, identity, facts, live_seconds=live_seconds)

    return persistently(engine, attempt, patience(options, settings))


def storage_thread(
    engine: Engine,
    found: FoundStudy,
    opened: OpenStudy,
    slots: int,
    options: RunOptions,
    settings: Settings,
    identity: Identity,
    wake: Callable[[], None],
) -> tuple[StorageThread, OwnTrials | None]:
    """The way to the database, and what answers a function of the user's own, if the study has one."""
    checkpoints = settings.checkpoint_dir / f"{found.study.name}-{opened.uid}"
    # The one trial of --debug trains to its end.
    planner = _planner(found.study, opened, checkpoints, identity, settings) if options.foreground is None else None
    ask_tell = AskTell(found.study, opened.study_id, opened.cache, checkpoints, identity.host, slots, planner)
    thread = StorageThread(
        engine,
        ask_tell,
        Reaper(opened.study_id, identity, grace_seconds=settings.lease_seconds / 2),
        worker_id=identity.worker_id,
        lease_seconds=settings.lease_seconds,
        wake=wake,
        revive=revival(options, settings) or (lambda: None),
    )
    return thread, OwnTrials(ask_tell) if found.study.brings_training else None


def _planner(
    study: Study, opened: OpenStudy, checkpoints: Path, identity: Identity, settings: Settings
) -> Planner | None:
    """What decides which trials go on; None where a sampler and a pruner do."""
    if not can_wait(study):
        return None
    from hpo.search.paused import PausedCheckpoints
    from hpo.search.planning import Planner  # which loads SciPy

    kept = PausedCheckpoints(checkpoints, settings.checkpoint_bytes)
    return Planner(study, opened.study_id, opened.cache, kept, identity.host, settings.lease_seconds)


def search_progress(
    found: FoundStudy, options: RunOptions, thread: StorageThread, facts: Mapping[str, Any], listeners: Listeners
) -> SearchProgress:
    watching = (found.study, thread, facts, listeners, options.on_snapshot, options.on_notice)
    if options.tensorboard is not None:
        return TensorBoardProgress(options.tensorboard, *watching)
    return SearchProgress(*watching)


def listeners_for(found: FoundStudy, options: RunOptions) -> Listeners:
    """Who hears of the run. Raises UsageError for an address, or a tracker, that cannot be had."""

    def tell(sentence: str) -> None:
        say(options, [sentence])

    study = found.study
    functions = {
        name: [one for one in (getattr(study, name), getattr(options, name)) if one is not None] for name in CALLBACKS
    }
    hearing: list[Listener] = [Callbacks(study, functions, tell)] if any(functions.values()) else []
    if options.notify:
        hearing.append(Notifier(study.name, options.notify))
    if options.tracker is not None:
        hearing.append(make_tracker(options.tracker, study))
    return Listeners(hearing, tell)


def say(options: RunOptions, sentences: Sequence[str]) -> None:
    notice = options.on_notice or logging.getLogger("hpo").warning
    for sentence in filter(None, sentences):
        notice(sentence)


def endless(found: FoundStudy, options: RunOptions, agreed: BudgetDecision) -> str:
    limits = (options.timeout, options.trials, agreed.budget.seconds_left, agreed.budget.trials_target)
    if (
        options.worker
        or options.foreground is not None
        or isinstance(found.study.sampler, Grid)
        or any(limit is not None for limit in limits)
    ):
        return ""
    return "neither a timeout nor a number of trials was given: the search runs until Ctrl-C"
