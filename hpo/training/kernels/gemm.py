"""Matrix products on a CPU by oneDNN, where it is faster than what torch.mm calls (MKL, or OpenBLAS on ARM).

oneDNN has AVX-512 kernels for every vendor's processors, and MKL of some versions takes AVX2 on those that are not
Intel's: there one core of an AMD EPYC (Zen 5) reached 95-104 GFLOP/s with torch.mm and 190-240 with oneDNN. On another
(Zen 4, torch 2.15) the two are within a third of each other, and small products take half as long in torch.mm. So a
machine measures from how many multiplications on oneDNN is taken (hpo.training.kernels.calibration).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hpo.torch_internals import linear_pointwise

__all__ = ["HAS_ONEDNN", "linear", "product"]

_ONEDNN = linear_pointwise()
HAS_ONEDNN = _ONEDNN is not None


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool, onednn_from: int | None = 0) -> Tensor:
    """x [N, I], weight [O, I], bias [O] -> x weight' + bias [N, O], with `relu` cut off below zero. No autograd."""
    if _ONEDNN is not None and onednn_from is not None and x.numel() * len(weight) >= onednn_from:
        out = _ONEDNN(x, weight, bias, "none", [], "")
    else:
        out = torch.addmm(bias, x, weight.t())
    # oneDNN could do this too, but its ReLU of NaN is 0, and a diverged network would look healthy.
    return out.relu_() if relu else out


def product(left: Tensor, right: Tensor, onednn_from: int | None = 0) -> Tensor:
    """left [N, K], right [K, M] -> [N, M]; transposed views are not copied. No autograd."""
    if _ONEDNN is not None and onednn_from is not None and left.numel() * right.shape[1] >= onednn_from:
        return _ONEDNN(left, right.t(), None, "none", [], "")
    return torch.mm(left, right)
