"""What rounding may make of the trial by which a machine's kernels are taken or left."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["agree"]

ALLOWED = 2.0**-15
"""The length of an error, in units of that of the exact tensor. In whatever order, and by whatever instructions, n
products are added up in float32, their sum is off by n 2^-24 times the sum of their sizes at most; and that is sqrt(n)
times the root of the sum of their squares at most, which is what they come to where signs are random. No sum of the
trials has more than 50 products, and 50 sqrt(50) is 354. They come to a hundredth of this."""


@torch.no_grad()
def agree(found: Iterable[Tensor], exact: Iterable[Tensor]) -> bool:
    """Whether float32 tensors are the float64 ones up to rounding; what is not a number agrees with nothing."""
    pairs = zip(found, exact, strict=True)
    return all(float((one.double() - other).norm()) <= ALLOWED * float(other.norm()) for one, other in pairs)
