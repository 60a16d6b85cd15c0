"""Values of an objective as numbers that a Gaussian process takes well: higher is better, mean 0, deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scale"]

Array = NDArray[np.float64]


class Scale:
    """Fitted to the values of curves, each with one that is finite or none.

    How bad a bad configuration is says nothing about the good ones, and a loss can be as bad as it likes: what lies
    more than twice as far below the typical curve as the best lies above it, is put there.
    """

    def __init__(self, curves: Sequence[Sequence[float]], *, maximize: bool) -> None:
        self._sign = 1.0 if maximize else -1.0
        self._floor, self._mean, self._deviation = 0.0, 0.0, 1.0
        finite = [values[np.isfinite(values)] for values in (np.asarray(curve, dtype=np.float64) for curve in curves)]
        known = [self._sign * values for values in finite if len(values)]
        if not known:
            return
        bests = np.array([values.max() for values in known])
        self._floor = float(np.median(bests) - 2.0 * (bests.max() - np.median(bests)))
        if len(known) == 1:
            self._floor = float(known[0].min())
        every = np.maximum(np.concatenate(known), self._floor)
        self._mean = float(every.mean())
        self._deviation = float(every.std()) or 1.0

    def inside(self, values: Sequence[float] | Array) -> Array:
        """As the model sees them. What is not finite is as bad as can be."""
        signed = self._sign * np.asarray(values, dtype=np.float64)
        signed = np.where(np.isfinite(signed), signed, self._floor)
        found: Array = (np.maximum(signed, self._floor) - self._mean) / self._deviation
        return found

    def outside(self, value: float) -> float:
        """The value of the objective that the model sees as `value`."""
        return float(self._sign * (value * self._deviation + self._mean))

    def spread_outside(self, deviation: float) -> float:
        """A standard deviation that the model sees, in the objective's own unit."""
        return float(deviation * self._deviation)
