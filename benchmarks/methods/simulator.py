"""A search in simulated time: slots that train by known curves, and a way that says what they train next."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from benchmarks.methods.problems import Curve, Problem

__all__ = ["Job", "Observation", "Run", "Way", "simulate"]


@dataclass(frozen=True)
class Job:
    """Train `trial` on, from where it stands up to epoch `until`, included."""

    trial: int
    config: Mapping[str, Any]
    until: int


@dataclass(frozen=True)
class Observation:
    """The end of an epoch, or of a trial that failed in it. `value` is NaN for the latter."""

    trial: int
    epoch: int
    value: float
    seconds: float
    failure: str = ""


class Way(Protocol):
    """A way to search. Its trials wait between jobs for nothing, and go on exactly."""

    def ask(self) -> Job:
        """What a free slot trains."""
        ...

    def observe(self, seen: Observation) -> bool:
        """Whether the job goes on; not asked after its last epoch, nor after a failure."""
        ...


@dataclass
class Run:
    """What one run found.

    steps: (how much of the budget was spent, the true value of what looks best) whenever something looks better than
           all before it; the budget in full trainings, all slots together
    """

    steps: list[tuple[float, float]] = field(default_factory=list)
    trials: int = 0
    full: int = 0
    failed: int = 0
    decisions: int = 0
    decision_seconds: float = 0.0
    slowest_decision: float = 0.0

    def best(self, spent: float) -> float:
        """The true value of what looks best when `spent` full trainings were spent; minus infinity before the first
        epoch's end."""
        return next((value for at, value in reversed(self.steps) if at <= spent), float("-inf"))

    def reached(self, value: float) -> float:
        """What was spent when `value` was reached; infinity if it never was."""
        return min((at for at, found in self.steps if found >= value), default=float("inf"))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def simulate(way: Way, problem: Problem, *, slots: int, trainings: float, clock: str, seed: int) -> Run:
    """Search until `trainings` full trainings are spent, all slots together.

    clock: "epochs": every epoch takes as long; "seconds": as its curve says
    """
    full = problem.epochs if clock == "epochs" else problem.reference.seconds
    return _Simulation(way, problem, slots, full, trainings, clock, seed).run()


class _Simulation:
    def __init__(
        self, way: Way, problem: Problem, slots: int, full: float, trainings: float, clock: str, seed: int
    ) -> None:
        self._way, self._problem, self._clock, self._seed = way, problem, clock, seed
        self._slots, self._full, self._trainings = slots, full, trainings
        self._curves: dict[int, Curve] = {}
        self._reached: dict[int, int] = {}
        self._events: list[tuple[float, int, Job]] = []
        self._found = Run()
        self._best = float("-inf")

    def run(self) -> Run:
        for slot in range(self._slots):
            self._begin(0.0, slot)
        while self._events:
            now, slot, job = heapq.heappop(self._events)
            spent = now * self._slots / self._full
            if spent > self._trainings:
                break
            if self._epoch_ends(spent, job):
                self._train(now, slot, job)
            else:
                self._begin(now, slot)
        self._found.trials = len(self._curves)
        self._found.full = sum(reached == self._problem.epochs for reached in self._reached.values())
        return self._found

    def _begin(self, now: float, slot: int) -> None:
        began = time.perf_counter()
        job = self._way.ask()
        seconds = time.perf_counter() - began
        self._found.decisions += 1
        self._found.decision_seconds += seconds
        self._found.slowest_decision = max(self._found.slowest_decision, seconds)
        if job.trial not in self._curves:
            self._curves[job.trial] = self._problem.curve(job.config, self._seed * 100_003 + job.trial)
            self._reached[job.trial] = 0
        if not self._reached[job.trial] < job.until <= self._problem.epochs:
            raise ValueError(f"{job} of a trial that stands at epoch {self._reached[job.trial]}")
        self._train(now, slot, job)

    def _train(self, now: float, slot: int, job: Job) -> None:
        """One epoch more."""
        heapq.heappush(self._events, (now + self._cost(job.trial), slot, job))

    def _cost(self, trial: int) -> float:
        curve, epoch = self._curves[trial], self._reached[trial]
        if epoch >= len(curve.seconds):  # it fails soon after its start
            return 0.1 * self._full / self._problem.epochs
        return 1.0 if self._clock == "epochs" else curve.seconds[epoch]

    def _epoch_ends(self, spent: float, job: Job) -> bool:
        curve, epoch = self._curves[job.trial], self._reached[job.trial] + 1
        if epoch > len(curve.values):
            self._found.failed += 1
            self._way.observe(Observation(job.trial, epoch, float("nan"), 0.0, curve.failure))
            return False
        self._reached[job.trial] = epoch
        value = curve.values[epoch - 1]
        if value > self._best:
            self._best = value
            self._found.steps.append((round(spent, 4), curve.true[epoch - 1]))
        cost = 1.0 if self._clock == "epochs" else curve.seconds[epoch - 1]
        goes_on = self._way.observe(Observation(job.trial, epoch, value, cost))
        return goes_on and epoch < job.until
