"""Metrics beyond loss and accuracy: each of the study's own, over the outputs of all that is scored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hpo.messages import Job
from hpo.own_metrics import checked_metrics
from hpo.training.own_parts import OwnPart, own_metrics

__all__ = ["MetricSet"]


class MetricSet:
    """The metrics of a job, from `reset` over any number of `add` to `compute`. Without any, nothing is kept.

    A function gets the outputs of all batches at once, a class one batch after the other.
    only: the one metric to compute
    """

    def __init__(self, job: Job, device: torch.device, *, only: str | None = None) -> None:
        self.parts = [part for part in own_metrics(job) if only in (None, part.name)]
        self._device = device
        self._whole = [part for part in self.parts if not part.is_class]
        for part in self.parts:
            part.check_takes(*(() if part.is_class else ("outputs", "targets")))
        self.reset()

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def directions(self) -> dict[str, str]:
        """Which way each is better."""
        return {part.name: part.direction for part in self.parts}

    def reset(self) -> None:
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._objects = {part.name: _made(part, self._device) for part in self.parts if part.is_class}

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch: float outputs [N, ...] and targets [N, ...]."""
        for each in self._objects.values():
            each.update(outputs, targets)
        if self._whole:
            self._outputs.append(outputs)
            self._targets.append(targets)

    def compute(self) -> dict[str, float]:
        """Each metric by name, and nothing kept any more. StudyError names one that is not a number."""
        values: dict[str, Any] = {}
        whole = (torch.cat(self._outputs), torch.cat(self._targets)) if self._whole and self._outputs else None
        for part in self.parts:
            if part.is_class:
                found = self._objects[part.name].compute()
            else:
                assert whole is not None
                found = part.function(*whole, **part.parameters)
            values |= _number(part, found)
        self._outputs, self._targets, self._objects = [], [], {}
        return values


def _made(part: OwnPart, device: torch.device) -> Any:
    made = part.function(**part.parameters)
    for method in ("update", "compute"):
        if not callable(getattr(made, method, None)):
            raise part.error(
                f"is a class without {method}()",
                next="add update(self, outputs, targets) for a batch and compute(self), or give a function",
            )
    return made.to(device) if isinstance(made, nn.Module) else made


def _number(part: OwnPart, found: Any) -> dict[str, float]:
    try:
        return checked_metrics({part.name: found})
    except TypeError:
        raise part.error(f"returned {type(found).__name__}, not one number", next="return one number") from None
