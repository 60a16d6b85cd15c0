"""State of modules and optimizers whose tensors are spread over ranks (FSDP2): whole in a checkpoint, spread again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

__all__ = ["spread", "whole"]


def whole(value: Any) -> Any:
    """`value` with every spread tensor gathered, on the CPU. A collective: all ranks call it with alike values."""
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, Mapping):
        return type(value)({name: whole(one) for name, one in value.items()})  # type: ignore[call-arg]
    if isinstance(value, list | tuple):
        return type(value)(whole(one) for one in value)
    return value


def spread(owner: Any, state: Any) -> Any:
    """The `state` of `owner` that `whole` made, spread as the owner's tensors are. A collective."""
    if isinstance(owner, nn.Module):
        now = owner.state_dict()
        return {name: _like(value, now.get(name)) for name, value in state.items()}
    if isinstance(owner, torch.optim.Optimizer):
        parameters = [parameter for group in owner.param_groups for parameter in group["params"]]
        kept = {
            number: {name: _like(value, parameters[number]) for name, value in one.items()}
            for number, one in state["state"].items()
        }
        return {**state, "state": kept}
    return state


def _like(value: Any, model: Tensor | None) -> Any:
    """`value`, spread as `model` is, where that is a spread tensor of its shape."""
    if isinstance(model, DTensor) and isinstance(value, Tensor) and value.shape == model.shape:
        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)
    return value
