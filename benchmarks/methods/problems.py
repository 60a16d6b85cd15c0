"""A problem whose learning curves are known without training, and today's simulated space as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks import simulated
from hpo.study.space import Space

__all__ = ["Curve", "Problem", "Reference", "Simulated"]


@dataclass(frozen=True)
class Curve:
    """What training one configuration would show.

    values:  the objective after epochs 1, 2, ..., as it is seen; higher is better
    true:    the same without noise
    seconds: how long each of these epochs takes
    failure: why there is no epoch after the last value ("memory"); "" where training goes to its end
    """

    values: tuple[float, ...]
    true: tuple[float, ...]
    seconds: tuple[float, ...]
    failure: str = ""


@dataclass(frozen=True)
class Reference:
    """What random configurations of a problem have: the measure of every regret.

    best:    the best value of all of them
    typical: the median of their best values
    seconds: the median time of a full training
    """

    best: float
    typical: float
    seconds: float


class Problem(Protocol):
    """A space and the curves of its configurations. `seed` decides the noise of a curve, where there is any."""

    name: str
    space: Space
    baseline: Mapping[str, Any]
    epochs: int
    reference: Reference

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve: ...


class Simulated:
    """The conditional space of benchmarks.simulated: noise, curves that cross, and a cost that depends on the rows.

    memory: whether the largest networks at large batches run out of memory in their first epoch
    """

    space = simulated.study.rows
    baseline = simulated.study.rows.parameters(simulated.study.baseline, what="the baseline")
    epochs = simulated.EPOCHS

    def __init__(self, *, memory: bool = False) -> None:
        self.name = "simulated, memory" if memory else "simulated"
        self._memory = memory
        self.reference = Reference(best=simulated.BEST, typical=0.933, seconds=13.0)

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        units = sum(config["hidden_units"])
        if self._memory and units * config["batch_size"] > 400_000:
            return Curve((), (), (), "memory")
        # A part for each step, which small batches pay often, and one for each image.
        seconds = 0.2 + 8.0 / config["batch_size"] + units / 2000
        epochs = range(1, self.epochs + 1)
        values = tuple(simulated.value(config, epoch, seed) for epoch in epochs)
        true = tuple(simulated.value(config, epoch, seed, noise=0.0) for epoch in epochs)
        return Curve(values, true, (seconds,) * self.epochs)
