"""Learning-rate schedules: the factor on the peak rate at each step.

All but one are pure functions of the step, so they have nothing to save. `plateau` remembers the losses it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from hpo.training.configuration import Recipe
from hpo.training.own_parts import OwnPart

__all__ = ["SCHEDULES", "LearningRate", "Plateau", "TrainLength"]

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
    """Times `schedule_factor` after more than `schedule_patience` epochs without a value 0.01 % better than the best.

    The first value is the best so far. `maximize` is whether more is better: of a loss, less is.
    """

    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def update(self, value: float, recipe: Recipe, *, maximize: bool = False) -> None:
        better = math.isfinite(value) and math.isinf(self.best)  # the first
        if maximize:
            better |= value > self.best * (1.0 + math.copysign(1e-4, self.best))
        else:
            better |= value < self.best * (1.0 - math.copysign(1e-4, self.best))
        if better:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > recipe.schedule_patience:
            self.factor *= recipe.schedule_factor
            self.waited = 0


class LearningRate:
    """The learning rate of every step: `lr(step)`. `epoch_done` takes each epoch's metrics.

    own: a schedule of the user's own; maximize: whether more is better of the metric that plateau watches
    """

    def __init__(
        self,
        recipe: Recipe,
        horizon: TrainLength,
        own: OwnPart | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        self._recipe = recipe
        self._horizon = horizon
        self._factor = SCHEDULES[recipe.schedule] if own is None else partial(_own_factor, own)
        self._maximize = maximize
        self._plateau = Plateau() if recipe.schedule == "plateau" else None

    def lr(self, step: int) -> float:
        """The learning rate of `step`, counted from 0 over all epochs."""
        factor = self._factor(step, self._horizon, self._recipe)
        if self._plateau is not None:
            factor *= self._plateau.factor
        return self._recipe.lr * factor

    def epoch_done(self, metrics: Mapping[str, float]) -> None:
        """Without validation, as in the final phase, plateau watches the training loss."""
        if self._plateau is not None and (watched := self._recipe.schedule_metric) in metrics:
            self._plateau.update(metrics[watched], self._recipe, maximize=self._maximize)
        elif self._plateau is not None:
            self._plateau.update(metrics["train_loss"], self._recipe)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self._plateau) if self._plateau is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._plateau is not None:
            self._plateau = Plateau(**state)


def _own_factor(part: OwnPart, step: int, horizon: TrainLength, recipe: Recipe) -> float:
    """That of the user's own function, times the warm-up."""
    found = part.function(step, horizon.steps, horizon.steps_per_epoch, **part.parameters)
    try:
        factor = float(found)
    except (TypeError, ValueError):
        factor = math.nan
    if isinstance(found, str) or not 0.0 <= factor < math.inf:
        raise part.error(
            f"gave {found!r} at step {step} of {horizon.steps}, not a factor of at least 0", next="return a number"
        )
    return factor * _warmup(step, horizon, recipe)


def _warmup(step: int, horizon: TrainLength, recipe: Recipe) -> float:
    steps = recipe.warmup_epochs * horizon.steps_per_epoch
    if step >= steps:
        return 1.0
    return WARMUP_START + (1.0 - WARMUP_START) * step / steps


def _along_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * done))
