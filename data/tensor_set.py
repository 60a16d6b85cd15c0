"""A part of a data set on the device whose inputs are no images: tensors of any kind, gathered batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hpo.data.targets import as_trained

__all__ = ["TensorSet", "statistics"]

Constants = Mapping[str, tuple[Tensor, Tensor]]


class TensorSet:
    """Inputs by name, each [N, ...], and labels [N, ...] on `device`, with the constants of those that are normalised.

    constants: (mean, deviation) of an input, of a shape that broadcasts over one sample; others stay as they are
    several:   whether a network is given a dict, or the only input
    Every method only gathers and multiplies, so it may be captured in a CUDA graph. It has ImageSet's interface.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        constants: Constants,
        device: torch.device | str = "cpu",
        *,
        several: bool,
    ) -> None:
        self.inputs = {name: value.to(device).contiguous() for name, value in inputs.items()}
        self.labels = labels.to(device)
        self.constants = {name: (mean.to(device), std.to(device)) for name, (mean, std) in constants.items()}
        self._several = several

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def batch(self, index: Tensor) -> tuple[Any, Tensor]:
        """(what a network is given, labels [B, ...]) at `index` (int64 [B] on the device)."""
        gathered = {name: value.index_select(0, index) for name, value in self.inputs.items()}
        for name, (mean, std) in self.constants.items():
            gathered[name] = (gathered[name] - mean) / std
        return gathered if self._several else gathered["inputs"], as_trained(self.labels.index_select(0, index))

    def with_constants(self, inputs: Mapping[str, Tensor], labels: Tensor) -> TensorSet:
        """Another split, normalised by the constants of this one."""
        return TensorSet(inputs, labels, self.constants, self.device, several=self._several)

    def describe(self) -> dict[str, Any]:
        """The constants, as a saved model's config.json has them."""
        return {
            "mean": {name: mean.tolist() for name, (mean, _) in self.constants.items()},
            "std": {name: std.tolist() for name, (_, std) in self.constants.items()},
        }


def statistics(value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, deviation) float32 over value[index], [N, F] of each feature, [N, C, ...] of each channel, for one sample.

    Constant ones get a deviation of 1. In float64, in one order, so that they are the same each time.
    """
    chosen = value.index_select(0, index).to(torch.float64)
    over = [0, *range(2, chosen.ndim)]
    mean = chosen.mean(over, keepdim=True)
    std = (chosen - mean).square().mean(over, keepdim=True).sqrt()
    std = torch.where(std > 0, std, torch.ones_like(std))
    return mean[0].to(torch.float32), std[0].to(torch.float32)
