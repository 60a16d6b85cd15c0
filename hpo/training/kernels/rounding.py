"""How much rounding may change the results by which a machine's kernels are accepted or rejected."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["agree"]

ALLOWED = 2.0**-15
"""The largest norm of an error, as a share of the exact tensor's norm. However n products are added up in float32,
their sum is off by at most n 2^-24 times the sum of their absolute values. That sum is at most sqrt(n) times the root
of the sum of their squares, which is about the size of the result where signs are random. No sum here has more than 50
products, and 50 sqrt(50) 2^-24 is less than this limit. Measured errors are a hundredth of it."""


@torch.no_grad()
def agree(found: Iterable[Tensor], exact: Iterable[Tensor]) -> bool:
    """Whether float32 tensors equal the float64 ones up to rounding; NaN agrees with nothing."""
    pairs = zip(found, exact, strict=True)
    return all(float((one.double() - other).norm()) <= ALLOWED * float(other.norm()) for one, other in pairs)
