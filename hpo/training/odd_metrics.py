"""Metrics that are not a number once a model has trained a few steps: told by name before a search is spent on them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from hpo.data.streamed_set import StreamedSet
from hpo.errors import StudyError
from hpo.messages import Job
from hpo.training.augmenting import laid_out
from hpo.training.built_in_metrics import NoValue
from hpo.training.train_state import TrainState
from hpo.wording import params_text

__all__ = ["odd_metrics", "score_some"]

_SHOWN = ("optimizer", "lr", "batch_size")
"""Of a configuration: what a model that has trained a few steps owes its numbers to."""


def score_some(state: TrainState, index: Tensor) -> dict[str, float]:
    """The metrics over the samples at `index` of the validation part; {} where so few give one of them no value."""
    try:
        return state.score(laid_out(state.parts.images, state.recipe), lambda: False, index) or {}
    except NoValue:
        if len(index) == len(state.parts.validation):
            raise
        return {}


def odd_metrics(state: TrainState, job: Job, scored: dict[str, float]) -> list[str]:
    """A sentence for each metric of `scored` that is not a finite number.

    StudyError for one that a trial goes by, where the whole validation part has no number for it either: every trial
    would end in its first epoch. Not where the loss is no number: that is the configuration's, and a search learns it.
    """
    if not _odd(scored):
        return []
    shown = params_text({name: job.config[name] for name in _SHOWN if name in job.config})
    if not math.isfinite(scored["val_loss"]):
        return [f"val_loss is {scored['val_loss']} after a few steps with {shown}: such a trial ends as diverged"]
    decisive = [name for name in _odd(scored) if name in state.stopping.goes_by or name == state.recipe.schedule_metric]
    if decisive and not isinstance(state.parts.images, StreamedSet):
        scored = score_some(state, state.parts.validation)
        _refuse(state, [name for name in decisive if name in _odd(scored)], scored, shown)
    return [f"{name} is {scored[name]} after a few steps with {shown}{_so(name, decisive)}" for name in _odd(scored)]


def _refuse(state: TrainState, names: Iterable[str], scored: dict[str, float], shown: str) -> None:
    for name in names:
        fact = f"is {scored[name]} for all {len(state.parts.validation)} validation samples, and a trial goes by it"
        evidence, step = f"after a few steps with {shown}", "return a finite number for any outputs"
        part = next((part for part in state.metrics.parts if part.name == name), None)
        if part is not None:
            raise part.error(fact, evidence, next=step)
        raise StudyError(f"{name} {fact}", evidence=[evidence], next="take another metric")


def _odd(scored: dict[str, float]) -> list[str]:
    return [name for name, value in scored.items() if not math.isfinite(value)]


def _so(name: str, decisive: list[str]) -> str:
    return ": a trial goes by it, and ends as diverged where it stays so" if name in decisive else ""
