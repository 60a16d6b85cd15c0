"""Which of several ways trains a network: what hpo.training.kernels.calibration decides on the machine that trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["DEFAULT", "NOTHING", "Choice"]

MOST = 10**12


@dataclass(frozen=True)
class Choice:
    """What is fast. The defaults are what an AMD EPYC (Zen 5) has been measured to want.

    native:          whether anything faster than torch's own operators is taken at all
    chains, stages:  whether chains of linear layers, and those that begin with convolutions, train without autograd
    one_call:        the most images of a batch whose step is one call of C, rather than products, for wide networks
    one_call_narrow: the same for networks with few weights
    onednn_from:     multiplications in a matrix product from which on oneDNN computes it, not torch's library (MKL,
                     OpenBLAS); None: never
    depthwise, pooling: whether channels_last.c computes gradients of depthwise convolutions, and max pooling
    pointwise:       whether 1x1 convolutions in bf16 are matrix products
    """

    native: bool = True
    chains: bool = True
    stages: bool = True
    one_call: int = 64
    one_call_narrow: int = 256
    onednn_from: int | None = 0
    depthwise: bool = True
    pooling: bool = True
    pointwise: bool = True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Choice:
        """What `as_json` gave, of any version: what is missing, unknown or of a wrong type is as by default."""
        own = {field.name: field.default for field in fields(cls)}
        known = {name: stored[name] for name, usual in own.items() if name in stored and _fits(stored[name], usual)}
        return cls(**known)

    def words(self) -> str:
        """`one call of C up to 64 images (narrow 256), oneDNN from 0 multiplications, ...`."""
        if not self.native:
            return "torch's own operators alone"
        onednn = "no oneDNN" if self.onednn_from is None else f"oneDNN from {self.onednn_from:,} multiplications"
        names = ("chains", "stages", "depthwise", "pooling", "pointwise")
        left = [name for name in names if not getattr(self, name)]
        called = f"one call of C up to {self.one_call} images ({self.one_call_narrow} of narrow networks)"
        return ", ".join([called, onednn, *(f"torch's own {name}" for name in left)])


DEFAULT = Choice()
"""Where nothing was measured."""

NOTHING = Choice(native=False, chains=False, stages=False, depthwise=False, pooling=False, pointwise=False)
"""torch's own operators alone, as with HPO_NATIVE=0."""


def _fits(value: Any, usual: Any) -> bool:
    if isinstance(usual, bool):
        return isinstance(value, bool)
    if value is None:
        return bool(usual == 0)  # only onednn_from may be "never"
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
