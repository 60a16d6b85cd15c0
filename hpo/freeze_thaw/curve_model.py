"""A Gaussian process over configurations and epochs: how high a curve will be, and how sure that is.

The value of configuration x after epoch t is a sum of what all curves share over time, what similar configurations
share (at all epochs, and at similar ones), and what is the curve's own (likewise), each with its kernel. A curve that
has begun is thereby predicted from itself and from its likes, one that has not from its likes alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

__all__ = ["CurveModel", "Observed"]

Array = NDArray[np.float64]

JITTER = 1e-6
SUBSET = 250
"""The kernel is fitted to as many values at most: it has about ten parameters."""

PRIOR = {
    "level": 0.5,  # of configurations, at all epochs
    "shape": 0.3,  # of configurations, at similar epochs
    "own_level": 0.1,
    "own_shape": 0.05,
    "trend": 0.3,  # of all curves
    "pace": 0.7,  # how far epochs are similar; 1 is a whole curve, by the logarithm of the epoch
    "noise": 0.02,  # a standard deviation; the others above are variances
}
"""The centres of the priors of the kernel's parameters, for values with mean 0 and standard deviation 1."""


@dataclass(frozen=True)
class Observed:
    """Places of curves: points [n, columns], epochs [n], and the trial [n] that each belongs to."""

    points: Array
    epochs: Array
    trials: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.epochs)

    def take(self, rows: NDArray[np.intp]) -> Observed:
        return Observed(self.points[rows], self.epochs[rows], self.trials[rows])


class CurveModel:
    """Predicts curves of up to `epochs` epochs, of configurations that are points with `columns` numbers."""

    def __init__(self, columns: int, epochs: int) -> None:
        self._columns, self._longest = columns, math.log1p(epochs)
        # Points of a cube are the further apart the more columns it has.
        scale = math.log(0.6 * math.sqrt(max(columns, 1) / 3.0))
        self._centre = np.array([scale] * columns + [math.log(value) for value in PRIOR.values()])
        self._width = np.array([0.8] * columns + [0.5 if name == "pace" else 1.0 for name in PRIOR])
        self._logs = self._centre
        self._fitted = 0

    def learn(self, seen: Observed, values: Array, epochs_known: int, draw: np.random.Generator) -> None:
        """Take in what is seen, in place of what was.

        epochs_known: of all trials; the kernel is fitted again when they are more by a seventh
        """
        if len(seen) > 2 and epochs_known >= 1.15 * self._fitted:
            self._fitted = epochs_known
            rows = draw.permutation(len(seen))[:SUBSET]
            self._fit(seen.take(rows), values[rows])
        self._condition(seen, values)

    def predict(self, wanted: Observed) -> tuple[Array, Array]:
        """Mean and standard deviation at each place, without the noise of a single epoch."""
        kernel = _Kernel(self._logs, self._columns, self._longest, self._seen, wanted)
        shared = kernel.matrix()
        means: Array = shared.T @ self._weights
        explained = solve_triangular(self._root, shared, lower=True, check_finite=False)
        variance = kernel.variance - np.einsum("ij,ij->j", explained, explained)
        return means, np.sqrt(np.maximum(variance, 1e-9))

    def _condition(self, seen: Observed, values: Array) -> None:
        self._seen, self._values = seen, values
        matrix = _Kernel(self._logs, self._columns, self._longest, seen, seen).matrix()
        self._root = _root(matrix, math.exp(2.0 * self._logs[-1]))
        self._weights = cho_solve((self._root, True), values, check_finite=False)

    def _fit(self, seen: Observed, values: Array) -> None:
        """The most likely kernel, from the one before."""
        bounds = list(zip(self._centre - 4.0 * self._width, self._centre + 4.0 * self._width, strict=True))
        found = minimize(
            self._unlikely, self._logs, (seen, values), "L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 20}
        )
        if math.isfinite(found.fun):
            self._logs = found.x

    def _unlikely(self, logs: Array, seen: Observed, values: Array) -> tuple[float, Array]:
        """The negative logarithm of the posterior of a kernel, and its gradient."""
        kernel = _Kernel(logs, self._columns, self._longest, seen, seen)
        noise = math.exp(2.0 * logs[-1])
        root = _root(kernel.matrix(), noise)
        inverse = cho_solve((root, True), np.eye(len(values)), check_finite=False)
        weights = inverse @ values
        away = (logs - self._centre) / self._width
        value = 0.5 * (values @ weights + away @ away) + np.log(np.diag(root)).sum()
        outer = 0.5 * (inverse - np.outer(weights, weights))
        gradient = np.append(kernel.gradient(outer), 2.0 * noise * np.trace(outer))
        return float(value), gradient + away / self._width


class _Kernel:
    """The covariances of two sets of places, and the parts of which they are made."""

    def __init__(self, logs: Array, columns: int, longest: float, one: Observed, other: Observed) -> None:
        lengths = np.exp(logs[:columns])
        self._level, self._shape, self._own_level, self._own_shape, self._trend, pace, _ = np.exp(logs[columns:])
        self._places = one.points / lengths
        places = other.points / lengths
        squares = np.einsum("ij,ij->i", self._places, self._places)[:, None] + np.einsum("ij,ij->i", places, places)
        # Matérn 5/2 over configurations, 3/2 over the logarithm of the epoch.
        self._far = np.sqrt(5.0 * np.maximum(squares - 2.0 * self._places @ places.T, 0.0))
        self._decay = np.exp(-self._far)
        self._alike = (1.0 + self._far + self._far * self._far / 3.0) * self._decay
        times, others = np.log1p(one.epochs) / longest, np.log1p(other.epochs) / longest
        self._apart = np.abs(times[:, None] - others) * (math.sqrt(3.0) / pace)
        self._fading = np.exp(-self._apart)
        self._near = (1.0 + self._apart) * self._fading
        self._same = one.trials[:, None] == other.trials

    @property
    def variance(self) -> float:
        return float(self._level + self._shape + self._own_level + self._own_shape + self._trend)

    def matrix(self) -> Array:
        found: Array = self._trend * self._near + self._alike * (self._level + self._shape * self._near)
        found += self._same * (self._own_level + self._own_shape * self._near)
        return found

    def gradient(self, outer: Array) -> Array:
        """The sum of `outer` times the derivative of the matrix by each logarithm, but for the noise."""
        spread = outer * (self._level + self._shape * self._near) * (5.0 / 3.0 * (1.0 + self._far) * self._decay)
        square = self._places * self._places
        lengths = 2.0 * (spread.sum(axis=1) @ square - np.einsum("ij,ij->j", self._places, spread @ self._places))
        near = outer * self._near
        by_pace = outer * (self._trend + self._shape * self._alike + self._own_shape * self._same)
        parts = [
            self._level * np.sum(outer * self._alike),
            self._shape * np.sum(near * self._alike),
            self._own_level * np.sum(outer * self._same),
            self._own_shape * np.sum(near * self._same),
            self._trend * np.sum(near),
            np.sum(by_pace * self._apart * self._apart * self._fading),
        ]
        return np.concatenate([lengths, parts])


def _root(matrix: Array, noise: float) -> Array:
    """The Cholesky factor of a covariance with noise, and with more of it where rounding asks for it."""
    jitter = JITTER
    while True:
        try:
            found: Array = cholesky(matrix + (noise + jitter) * np.eye(len(matrix)), lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            jitter *= 10.0
        else:
            return found
