"""Learning-rate schedules: the factor on the peak rate at each step.

All but one are pure functions of the step, so they have nothing to save. `plateau` remembers the losses it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from hpo.training.configuration import Recipe

__all__ = ["SCHEDULES", "Plateau", "Schedule", "TrainLength"]

WARMUP_START = 0.01
"""Share of the peak learning rate at the first step of a warm-up."""


@dataclass(frozen=True)
class TrainLength:
    """How long training will last: steps per epoch and epochs."""

    steps_per_epoch: int
    epochs: int

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs


def constant(step: int, horizon: TrainLength, recipe: Recipe) -> float:
    """1 after the warm-up."""
    return _warmup(step, horizon, recipe)


def cosine(step: int, horizon: TrainLength, recipe: Recipe) -> float:
    """Half a cosine from 1 at the end of the warm-up to 0 after the last step."""
    start = recipe.warmup_epochs * horizon.steps_per_epoch
    if step < start:
        return _warmup(step, horizon, recipe)
    done = min((step - start) / max(horizon.steps - start, 1.0), 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def step_decay(step: int, horizon: TrainLength, recipe: Recipe) -> float:
    """Times `schedule_factor` every `schedule_epochs` epochs."""
    epoch = step // horizon.steps_per_epoch
    return float(recipe.schedule_factor ** (epoch // recipe.schedule_epochs)) * _warmup(step, horizon, recipe)


def one_cycle(step: int, horizon: TrainLength, recipe: Recipe) -> float:
    """Up from 1/25 over `warmup_epochs` (default: 30 % of all steps), then down to 1/250,000, both along a cosine.

    The learning rate of torch.optim.lr_scheduler.OneCycleLR with its defaults; momentum is left alone.
    """
    share = recipe.warmup_epochs / horizon.epochs if recipe.warmup_epochs else 0.3
    top, last = share * horizon.steps - 1.0, horizon.steps - 1.0
    if step <= top:
        return _along_cosine(1 / 25, 1.0, step / top)
    return _along_cosine(1.0, 1 / 250_000, min((step - top) / max(last - top, 1.0), 1.0))


SCHEDULES: dict[str, Callable[[int, TrainLength, Recipe], float]] = {
    "none": constant,
    "cosine": cosine,
    "step": step_decay,
    "plateau": constant,
    "one_cycle": one_cycle,
}


@dataclass
class Plateau:
    """Times `schedule_factor` after more than `schedule_patience` epochs without a loss 0.01 % below the best."""

    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def update(self, loss: float, recipe: Recipe) -> None:
        if loss < self.best * (1.0 - 1e-4):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > recipe.schedule_patience:
            self.factor *= recipe.schedule_factor
            self.waited = 0


class Schedule:
    """The learning rate of every step: `lr(step)`. `epoch_done` takes each epoch's validation loss."""

    def __init__(self, recipe: Recipe, horizon: TrainLength) -> None:
        self._recipe = recipe
        self._horizon = horizon
        self._factor = SCHEDULES[recipe.schedule]
        self._plateau = Plateau() if recipe.schedule == "plateau" else None

    def lr(self, step: int) -> float:
        """The learning rate of `step`, counted from 0 over all epochs."""
        factor = self._factor(step, self._horizon, self._recipe)
        if self._plateau is not None:
            factor *= self._plateau.factor
        return self._recipe.lr * factor

    def epoch_done(self, loss: float) -> None:
        if self._plateau is not None:
            self._plateau.update(loss, self._recipe)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self._plateau) if self._plateau is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._plateau is not None:
            self._plateau = Plateau(**state)


def _warmup(step: int, horizon: TrainLength, recipe: Recipe) -> float:
    steps = recipe.warmup_epochs * horizon.steps_per_epoch
    if step >= steps:
        return 1.0
    return WARMUP_START + (1.0 - WARMUP_START) * step / steps


def _along_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * done))
