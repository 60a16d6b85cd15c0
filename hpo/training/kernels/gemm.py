"""Matrix products on a CPU by oneDNN, which has AVX-512 kernels for every vendor's processors.

torch.mm goes to MKL, and MKL takes its AVX2 kernels on processors that are not Intel's: on an AMD EPYC (Zen 5) one core
gave 95-104 GFLOP/s by torch.mm and 190-240 by oneDNN, at batches of 64 to 512 (docs/decisions/chains.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hpo.torch_internals import linear_pointwise

__all__ = ["linear", "product"]


_ONEDNN = linear_pointwise()


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """x [N, I], weight [O, I], bias [O] -> x weight' + bias [N, O], below zero cut off if `relu`. No autograd."""
    if _ONEDNN is not None:
        out = _ONEDNN(x, weight, bias, "none", [], "")
    else:
        out = torch.addmm(bias, x, weight.t())
    # oneDNN could do this too, but its ReLU of NaN is 0, and a diverged network would look healthy.
    return out.relu_() if relu else out


def product(left: Tensor, right: Tensor) -> Tensor:
    """left [N, K], right [K, M] -> [N, M]; transposed views are taken as they lie. No autograd."""
    if _ONEDNN is not None:
        return _ONEDNN(left, right.t(), None, "none", [], "")
    return torch.mm(left, right)
