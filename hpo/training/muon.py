"""Muon with AdamW for what it does not take: torch's own Muon updates matrices only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

__all__ = ["MuonWithAdamW"]

Groups = list[dict[str, Any]]


class MuonWithAdamW(Optimizer):
    """torch.optim.Muon over the matrices of `model` but its last layer's, torch.optim.AdamW over all other parameters.

    groups:   of all parameters, as any optimizer takes them; both optimizers share their learning rate
    momentum: of Muon, whose steps are scaled to the size of AdamW's (adjust_lr_fn="match_rms_adamw")
    """

    def __init__(self, model: nn.Module, groups: Groups, momentum: float, weight_decay: float) -> None:
        matrices = {id(parameter) for parameter in _hidden_matrices(model)}
        super().__init__(groups, {"lr": groups[0]["lr"], "weight_decay": weight_decay})
        parts = [self._divided(groups, matrices, inside) for inside in (True, False)]
        options: dict[str, Any] = {"weight_decay": weight_decay}
        self._parts: list[Optimizer] = []
        if parts[0]:
            muon = torch.optim.Muon(parts[0], momentum=momentum, adjust_lr_fn="match_rms_adamw", **options)
            self._parts.append(muon)
        if parts[1]:
            self._parts.append(torch.optim.AdamW(parts[1], foreach=False, **options))
        self.state = defaultdict(dict)  # one for all, so that it is saved and restored as that of any other
        for part in self._parts:
            part.state = self.state
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for part in self._parts:
            part.step()

    @staticmethod
    def _divided(groups: Groups, matrices: set[int], inside: bool) -> Groups:
        divided = [
            {**group, "params": [one for one in group["params"] if (id(one) in matrices) == inside]} for group in groups
        ]
        return [group for group in divided if group["params"]]


def _hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Two-dimensional weights but those of the last linear layer and of embeddings, as its author advises."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    apart = [*linear[-1:], *(module for module in model.modules() if isinstance(module, nn.Embedding))]
    kept = {id(module.weight) for module in apart}
    return [parameter for parameter in model.parameters() if parameter.ndim == 2 and id(parameter) not in kept]
