"""`hpo run --ray`: one coordinator on every node of a Ray cluster that has the resources.

Ray decides where a coordinator runs, starts it again when its node dies, and asks the autoscaler for a node when there
is none. What a study needs beyond that is in PostgreSQL as always: a coordinator that comes back is one more worker.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from sqlalchemy.engine import Engine, make_url

from hpo import api
from hpo.coordinator.assembly import RunOptions
from hpo.coordinator.code import code_facts
from hpo.coordinator.opening import Opening, prepare_study
from hpo.coordinator.snapshot import Best, SlotView, Snapshot
from hpo.discovery import FoundStudy
from hpo.errors import DeviceError, HpoError, StorageError
from hpo.reading import StudyView, read_study
from hpo.settings import Settings
from hpo.storage.engine import open_engine, resolve_url

__all__ = ["run_on_ray"]

LOOK_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""A worker that has not been heard of for so long is not shown any more."""
LEAVE_SECONDS = 12.0
"""A coordinator told to leave needs eight seconds at most; one that is cut off loses nothing but time."""
_SECRET = {"HPO_STORAGE", "HPO_STORAGE_PASSWORD_FILE", "HPO_DASHBOARD_PASSWORD"}


class Coordinator:
    """A coordinator as a Ray actor: `run` in one thread, `stop` in another."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        self._stopped = False

    def run(self, found: FoundStudy, options: Mapping[str, Any]) -> str | HpoError:
        """Why this worker left, or the error that its user has to act on."""
        try:
            return api.run(found, worker=True, on_started=self._started, **options).stopped
        except HpoError as error:
            return error

    def stop(self) -> None:
        self._stopped = True
        if self._stop is not None:
            self._stop()

    def _started(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self._stopped:
            stop()


@dataclass
class _Fleet:
    """The coordinators of one run. There are never more than nodes were seen alive at once, or each node that the
    autoscaler brings for a lost one would call for another."""

    found: FoundStudy
    options: RunOptions
    storage: str
    environment: Mapping[str, str]
    actors: dict[Any, Any] = field(default_factory=dict)  # reference of its run -> actor
    started_on: set[str] = field(default_factory=set)
    ended: list[str | HpoError] = field(default_factory=list)

    def cover(self) -> int:
        """Start a coordinator for every node without one; how many nodes can have one."""
        nodes = _suitable(ray.nodes(), self.options.devices)
        fresh = [node for node in nodes if node["NodeID"] not in self.started_on]
        room = len(nodes) - len(self.actors) - len(self.ended)
        for node in fresh[: max(0, room)]:
            self._start(node)
        return len(nodes)

    def collect(self, seconds: float) -> None:
        """Wait up to `seconds` for a coordinator to leave."""
        done, _ = ray.wait(list(self.actors), timeout=seconds)
        for reference in done:
            self.actors.pop(reference)
            try:
                self.ended.append(ray.get(reference))
            except ray.exceptions.RayError as error:
                self.ended.append(HpoError(f"a coordinator was lost: {str(error).splitlines()[0]}"))

    def leave(self, seconds: float) -> None:
        """Have everyone put their trials down, and cut off who does not answer."""
        for actor in self.actors.values():
            actor.stop.remote()
        until = time.monotonic() + seconds
        while self.actors and time.monotonic() < until:
            self.collect(until - time.monotonic())
        for actor in self.actors.values():
            ray.kill(actor)

    def _start(self, node: Mapping[str, Any]) -> None:
        gpus, cpus = int(node["Resources"].get("GPU", 0)), int(node["Resources"].get("CPU", 0))
        on_cpu = self.options.devices == "cpu" or not gpus
        actor: Any = (
            ray.remote(Coordinator)
            .options(
                num_cpus=cpus if on_cpu else min(1, cpus),
                num_gpus=0 if on_cpu else gpus,
                max_restarts=-1,
                max_task_retries=-1,
                max_concurrency=2,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True),
                runtime_env={"env_vars": dict(self.environment)},
            )
            .remote()
        )
        options = {
            "storage": self.storage,
            "devices": self.options.devices or ("cpu" if on_cpu else None),
            "workers": (self.options.workers or cpus) if on_cpu else None,
            "workers_per_gpu": self.options.workers_per_gpu,
        }
        self.started_on.add(node["NodeID"])
        self.actors[actor.run.remote(self.found, options)] = actor


def run_on_ray(found: FoundStudy, options: RunOptions, timeout_seconds: float | None, settings: Settings) -> api.Result:
    """`hpo.run` on every node of the cluster `options.ray`: an address, or "local" for a cluster on this machine.

    Nodes that join later get a coordinator too. Raises StorageError for a database that other nodes cannot reach,
    DeviceError for a cluster without the resources, and what a coordinator raised when none is left.
    """
    assert options.ray is not None
    storage = _reachable(resolve_url(settings, options.storage), options.ray)
    engine = open_engine(storage, application_name="hpo run --ray")
    opening = Opening(
        timeout_seconds=timeout_seconds, trials_target=options.trials, enqueue_known=options.enqueue_known
    )
    try:
        prepare_study(engine, found, opening, code_facts())
        with _cluster(options.ray), _signals() as received:
            fleet = _Fleet(found, options, storage, _environment(settings))
            stopped = _supervise(fleet, engine, received)
        return _result(read_study(engine, found.study.name), stopped)
    finally:
        engine.dispose()


def _supervise(fleet: _Fleet, engine: Engine, received: list[int]) -> str:
    """Until the study is over, a signal comes, or nobody is left to work on it. Why it stopped."""
    began = time.monotonic()
    show = fleet.options.on_snapshot
    if not fleet.cover():
        raise DeviceError(
            f"no node of the Ray cluster has a {'CPU' if fleet.options.devices == 'cpu' else 'GPU'} to train on",
            evidence=[f"{len(ray.nodes())} nodes: {ray.cluster_resources()}"],
            next="start nodes with --num-cpus or --num-gpus, or give another --device",
        )
    while not received:
        fleet.collect(LOOK_SECONDS)
        over = [why for why in fleet.ended if isinstance(why, str)]
        if over:
            fleet.leave(LEAVE_SECONDS)
            return over[0]
        if not fleet.actors:
            raise next(error for error in fleet.ended if isinstance(error, HpoError))
        fleet.cover()
        if show is not None:
            show(_snapshot(fleet.found, read_study(engine, fleet.found.study.name), time.monotonic() - began))
    fleet.leave(LEAVE_SECONDS)
    return "terminated" if signal.SIGTERM in received else "interrupted"


def _suitable(nodes: list[dict[str, Any]], devices: str | None) -> list[dict[str, Any]]:
    """The nodes to train on: those with GPUs if there are any or they were asked for, else those with CPUs."""
    alive = [node for node in nodes if node["Alive"]]
    with_gpus = [node for node in alive if node["Resources"].get("GPU", 0) >= 1]
    if devices != "cpu" and (with_gpus or devices is not None):
        return with_gpus
    return [node for node in alive if node["Resources"].get("CPU", 0) >= 1]


def _reachable(storage: str, address: str) -> str:
    if address != "local" and str(make_url(storage).query.get("host", "")).startswith("/"):
        raise StorageError(
            "the nodes of a Ray cluster cannot reach the PostgreSQL that comes with hpo",
            evidence=["it listens on a socket in a folder of this machine"],
            next="give --storage postgresql://user@host:5432/database",
        )
    return storage


def _environment(settings: Settings) -> dict[str, str]:
    """What nodes are told of this process's environment: its HPO_ settings, and no secrets."""
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
    """Ctrl-C and SIGTERM have every node put its trials down."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _best(view: StudyView) -> Best | None:
    found = view.best
    return Best(found.number, found.values[0], found.params) if found is not None and found.values else None


def _result(view: StudyView, stopped: str) -> api.Result:
    return api.Result(view.name, stopped, _best(view), view.counts, view.trials)


def _snapshot(found: FoundStudy, view: StudyView, elapsed_seconds: float) -> Snapshot:
    study = found.study
    at_work = [one for one in view.workers if one.state == "running" and one.silent_seconds < SILENT_SECONDS]
    return Snapshot(
        study=study.name,
        objective=study.objectives[0],
        direction=study.directions[0],
        counts=view.counts,
        best=_best(view),
        seconds_left=view.seconds_left,
        trials_target=view.trials_target,
        elapsed_seconds=elapsed_seconds,
        slots=tuple(
            SlotView(device=f"{one.host} {slot['device']}", state=slot["state"], trial=slot["trial"])
            for one in at_work
            for slot in one.slots
        ),
    )
