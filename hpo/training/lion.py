"""Lion (Chen et al. 2023, arXiv 2302.06675), which torch does not have: the sign of an average of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["Lion"]


class Lion(Optimizer):
    """Each weight moves by `lr`, in the direction of sign(beta1 m + (1 - beta1) g); weight decay is decoupled.

    m, `exp_avg` in the state, is the average of gradients with beta2. The rate is usually a third to a tenth of Adam's.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "exp_avg" not in state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                average, gradient = state["exp_avg"], parameter.grad
                if decay:
                    parameter.mul_(1.0 - lr * decay)
                parameter.sub_(average.lerp(gradient, 1.0 - beta1).sign_().mul_(lr))
                average.lerp_(gradient, 1.0 - beta2)
