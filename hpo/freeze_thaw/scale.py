"""Values of an objective as numbers that a Gaussian process takes well: higher is better, mean 0, deviation 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scale"]

Array = NDArray[np.float64]

LEADING = 0.1
"""The share of trials whose distance from the best is the unit in which values are told apart."""

FARTHEST = 30.0
"""In such units below the best; what is worse is no worse to the model, and what is not finite lies there too."""


class Scale:
    """Fitted to the values of curves; a curve may have none that is finite.

    Curves rise from chance to their end, and the ends of those that matter lie close together. To tell these apart,
    values count by the logarithm of their distance from the best. How bad a bad one is tells nothing about good ones.
    """

    def __init__(self, curves: Sequence[Sequence[float]], *, maximize: bool) -> None:
        self._sign = 1.0 if maximize else -1.0
        self._best, self._unit, self._mean, self._deviation = 0.0, 1.0, 0.0, 1.0
        finite = [values[np.isfinite(values)] for values in (np.asarray(curve, dtype=np.float64) for curve in curves)]
        known = [self._sign * values for values in finite if len(values)]
        if not known:
            return
        self._best = float(max(values.max() for values in known))
        self._unit = _unit(known)
        every = self._raw(np.concatenate(known))
        self._mean = float(every.mean())
        self._deviation = float(every.std()) or 1.0

    def inside(self, values: Sequence[float] | Array) -> Array:
        """As the model sees them."""
        signed = self._sign * np.asarray(values, dtype=np.float64)
        found: Array = (self._raw(np.where(np.isfinite(signed), signed, -np.inf)) - self._mean) / self._deviation
        return found

    def outside(self, value: float) -> float:
        """The value of the objective that the model sees as `value`; no further beyond the best than a unit."""
        return float(self._sign * (self._best + self._unit * (1.0 - self._stretch(value))))

    def spread_outside(self, value: float, deviation: float) -> float:
        """A small deviation from `value`, both as the model sees them, in the objective's own unit."""
        return float(self._unit * self._stretch(value) * self._deviation * deviation)

    def _raw(self, signed: Array) -> Array:
        found: Array = -np.log1p(np.clip((self._best - signed) / self._unit, 0.0, FARTHEST))
        return found

    def _stretch(self, value: float) -> float:
        return math.exp(-(value * self._deviation + self._mean))


def _unit(curves: Sequence[Array]) -> float:
    """How far the leaders lie from the best, but no less than an epoch changes them late in their curves."""
    leaders = sorted(curves, key=lambda values: -float(values.max()))[: max(3, math.ceil(LEADING * len(curves)) + 1)]
    best, last = float(leaders[0].max()), float(leaders[-1].max())
    if len(curves) == 1:
        last = float(curves[0].min())
    changes = [np.abs(np.diff(values))[len(values) // 2 :] for values in leaders if len(values) > 5]
    noise = float(np.median(np.concatenate(changes))) if changes else 0.0
    usual = best - float(np.median([values.max() for values in curves]))
    return max(best - last, noise, 1e-3 * usual) or 1.0
