"""Matrix products on a CPU by oneDNN, which has AVX-512 kernels for every vendor's processors.

torch.mm calls MKL, and MKL takes its AVX2 kernels on processors that are not Intel's: one core of an AMD EPYC (Zen 5)
reached 95-104 GFLOP/s with torch.mm and 190-240 with oneDNN, at batches of 64 to 512 (docs/decisions/chains.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hpo.torch_internals import linear_pointwise

__all__ = ["linear", "product"]


_ONEDNN = linear_pointwise()


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """x [N, I], weight [O, I], bias [O] -> x weight' + bias [N, O], with `relu` cut off below zero. No autograd."""
    if _ONEDNN is not None:
        out = _ONEDNN(x, weight, bias, "none", [], "")
    else:
        out = torch.addmm(bias, x, weight.t())
    # oneDNN could do this too, but its ReLU of NaN is 0, and a diverged network would look healthy.
    return out.relu_() if relu else out


def product(left: Tensor, right: Tensor) -> Tensor:
    """left [N, K], right [K, M] -> [N, M]; transposed views are not copied. No autograd."""
    if _ONEDNN is not None:
        return _ONEDNN(left, right.t(), None, "none", [], "")
    return torch.mm(left, right)
