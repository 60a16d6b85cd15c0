"""`hpo run --ray`: one coordinator on every node of a Ray cluster that has the resources.

Ray decides where a coordinator runs, restarts it when its node dies, and asks the autoscaler for a node when there is
none. Everything else is in PostgreSQL as always: a restarted coordinator is one more worker.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from sqlalchemy.engine import Engine, make_url

from hpo.errors import DeviceError, HpoError, StorageError
from hpo.ray.actors import NodeActors
from hpo.result import Result
from hpo.results.reading import StudyView, read_study
from hpo.search.budget import BudgetDecision
from hpo.search.code import code_facts
from hpo.search.open_study import OpenOptions, prepare_study
from hpo.search.options import RunOptions
from hpo.settings import Settings
from hpo.signals import signals_to_leave, why_left
from hpo.storage.engine import open_engine, resolve_url
from hpo.study.discovery import FoundStudy
from hpo.trainers.snapshot import Best, SlotView, Snapshot

__all__ = ["run_on_ray"]

LOOK_SECONDS = 2.0
LEAVE_SECONDS = 12.0
"""A coordinator needs eight seconds at most to stop; one that is killed loses nothing but time."""
_SECRET = {"HPO_STORAGE", "HPO_STORAGE_PASSWORD_FILE", "HPO_DASHBOARD_PASSWORD", "HPO_NOTIFY"}


def run_on_ray(found: FoundStudy, options: RunOptions, settings: Settings) -> Result:
    """`hpo.run` on every node of the cluster `options.ray`: an address, or "local" for a cluster on this machine.

    Nodes that join later get a coordinator too. Raises StorageError for a database that other nodes cannot reach,
    DeviceError for a cluster without the resources, and a coordinator's error when no coordinator is left.
    """
    assert options.ray is not None
    storage = _reachable(resolve_url(settings, options.storage), options.ray)
    engine = open_engine(storage, application_name="hpo run --ray")
    opening = OpenOptions(
        timeout_seconds=options.timeout_seconds,
        trials_target=options.trials,
        enqueue_known=options.enqueue_known,
        retry_failed=options.retry_failed,
        evolve=options.evolve,
    )
    try:
        agreed = prepare_study(engine, found, opening, code_facts(), live_seconds=settings.lease_seconds)
        if agreed.message and options.on_notice is not None:
            options.on_notice(agreed.message)
        with _cluster(options.ray), _signals() as received:
            nodes = NodeActors(found, options, storage, _environment(settings))
            stopped = _supervise(nodes, engine, received, agreed, settings.lease_seconds)
        return _result(read_study(engine, found.study.name), stopped)
    finally:
        engine.dispose()


def _supervise(
    nodes: NodeActors, engine: Engine, received: list[int], agreed: BudgetDecision, lease_seconds: float
) -> str:
    """Wait until the study is over, a signal comes or no coordinator is left. Returns why it stopped."""
    began = time.monotonic()
    show = nodes.options.on_snapshot
    if not nodes.cover():
        raise DeviceError(
            f"no node of the Ray cluster has a {'CPU' if nodes.options.devices == 'cpu' else 'GPU'} to train on",
            evidence=[f"{len(ray.nodes())} nodes: {ray.cluster_resources()}"],
            next="start nodes with --num-cpus or --num-gpus, or give another --device",
        )
    view: StudyView | None = None
    heard = 0.0
    while not received:
        nodes.collect(LOOK_SECONDS)
        seen, seconds = _look(engine, nodes.found.study.name), time.monotonic() - began
        if seen is not None:
            view, heard = seen, seconds
        finished = sum(trial.state.is_finished() for trial in view.trials) if view else 0
        over = next((why for why in nodes.ended if isinstance(why, str)), agreed.reached(seconds, finished))
        if over:
            nodes.leave(LEAVE_SECONDS)
            return over
        if not nodes.actors:
            raise next(error for error in nodes.ended if isinstance(error, HpoError))
        nodes.cover()
        if show is not None and view is not None:
            show(_snapshot(nodes.found, view, seconds, seconds - heard, lease_seconds))
    nodes.leave(LEAVE_SECONDS)
    return why_left(received)


def _look(engine: Engine, study: str) -> StudyView | None:
    """None while the database is away. The coordinators wait for it, and decide when that was too long."""
    try:
        return read_study(engine, study)
    except StorageError:
        return None


def _reachable(storage: str, address: str) -> str:
    if address != "local" and str(make_url(storage).query.get("host", "")).startswith("/"):
        raise StorageError(
            "the nodes of a Ray cluster cannot reach the PostgreSQL that comes with hpo",
            evidence=["it listens on a socket in a folder of this machine"],
            next="give --storage postgresql://user@host:5432/database",
        )
    return storage


def _environment(settings: Settings) -> dict[str, str]:
    """The part of this process's environment that nodes get: its HPO_ settings, and no secrets."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("HPO_") and name not in _SECRET}
    return {"HPO_HOME": str(settings.home), "HPO_CHECKPOINT_DIR": str(settings.checkpoint_dir), **ours}


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise StorageError(
            f"no Ray cluster answers at {address}",
            evidence=[str(error).strip().splitlines()[0]],
            next="give the address that `ray start --head` printed, or --ray local",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and SIGHUP make every node release its trials."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, *signals_to_leave())
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _best(view: StudyView) -> Best | None:
    found = view.best
    return Best(found.number, found.values[0], found.params) if found is not None and found.values else None


def _result(view: StudyView, stopped: str) -> Result:
    return Result(view.name, stopped, _best(view), view.counts, view.trials)


def _snapshot(
    found: FoundStudy, view: StudyView, elapsed_seconds: float, away_seconds: float, lease_seconds: float
) -> Snapshot:
    study = found.study
    at_work = [one for one in view.workers if one.state == "running" and one.silent_seconds < lease_seconds]
    return Snapshot(
        study=study.name,
        objective=study.objectives[0],
        direction=study.directions[0],
        counts=view.counts,
        best=_best(view),
        seconds_left=None if view.seconds_left is None else max(0.0, view.seconds_left - away_seconds),
        trials_target=view.trials_target,
        elapsed_seconds=elapsed_seconds,
        slots=tuple(
            SlotView(device=f"{one.host} {slot['device']}", state=slot["state"], trial=slot["trial"])
            for one in at_work
            for slot in one.slots
        ),
        database_away_seconds=away_seconds,
    )
