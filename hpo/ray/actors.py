"""The coordinators of one run on a Ray cluster: an actor for each node that has the resources."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hpo.errors import HpoError
from hpo.search.options import RunOptions
from hpo.search.search import run_search
from hpo.settings import Settings
from hpo.study.discovery import FoundStudy

__all__ = ["Coordinator", "NodeActors", "suitable"]


class Coordinator:
    """A coordinator as a Ray actor: `run` in one thread, `stop` in another."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        self._stopped = False

    def run(self, found: FoundStudy, options: Mapping[str, Any]) -> str | HpoError:
        """Why this worker left, or the error that the user has to act on."""
        try:
            chosen = RunOptions(worker=True, on_started=self._started, **options)
            return run_search(found, chosen, Settings.read()).stopped
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
class NodeActors:
    """The coordinators of one run. There are never more of them than nodes were alive at once: otherwise each node that
    the autoscaler starts for a lost one would need another."""

    found: FoundStudy
    options: RunOptions
    storage: str
    environment: Mapping[str, str]
    actors: dict[Any, Any] = field(default_factory=dict)  # reference of its run -> actor
    started_on: set[str] = field(default_factory=set)
    ended: list[str | HpoError] = field(default_factory=list)

    def cover(self) -> int:
        """Start a coordinator for every node without one. Returns how many nodes can have one."""
        nodes = suitable(ray.nodes(), self.options.devices)
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
        """Tell every coordinator to stop, and kill those that do not answer within `seconds`."""
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
        many = self.options.devices_per_trial or self.found.study.devices_per_trial
        options = {
            "storage": self.storage,
            "devices": self.options.devices or ("cpu" if on_cpu else None),
            "trainers": (self.options.trainers or max(1, cpus // many)) if on_cpu else None,
            "devices_per_trial": self.options.devices_per_trial,
            "trainers_per_gpu": self.options.trainers_per_gpu,
            "changed_code": self.options.changed_code,
        }
        self.started_on.add(node["NodeID"])
        self.actors[actor.run.remote(self.found, options)] = actor


def suitable(nodes: list[dict[str, Any]], devices: str | None) -> list[dict[str, Any]]:
    """The nodes to train on: those with GPUs if there are any or they were asked for, else those with CPUs."""
    alive = [node for node in nodes if node["Alive"]]
    with_gpus = [node for node in alive if node["Resources"].get("GPU", 0) >= 1]
    if devices != "cpu" and (with_gpus or devices is not None):
        return with_gpus
    return [node for node in alive if node["Resources"].get("CPU", 0) >= 1]
