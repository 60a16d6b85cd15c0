"""The densities of TPE's kernel estimators over many kernels, in a few array operations.

Optuna computes the same numbers with a Python function per element (NumPy alone has no erf), which takes nearly all the
time of an ask. The results are equal up to rounding, except that a point so far from a kernel that its mass underflows
counts as impossible for that kernel; the prior kernel, as wide as the range, keeps every sum above zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_density"]

Array = NDArray[np.float64]
_LOG_SQRT_2PI = 0.5 * float(np.log(2 * np.pi))


def log_density(x: Array, weights: Array, kernels: Sequence[Any]) -> Array:
    """Log density [n] at the points x [n, parameters] of a mixture of product kernels.

    weights: [k], of the kernels. kernels: one of Optuna's batched distributions per parameter: `weights` [k, choices]
    of a categorical, else `mu` and `sigma` [k], the ends `adapted_low` and `adapted_high`, `step` (0: continuous) and
    `is_log`.
    """
    total = np.tile(np.log(weights), (len(x), 1))
    with np.errstate(divide="ignore"):  # the log of a mass that underflowed
        for column, kernel in zip(x.T, kernels, strict=True):
            if hasattr(kernel, "weights"):
                total += np.log(kernel.weights[:, column.astype(np.intp)]).T
            elif kernel.step == 0.0:
                total += _continuous(np.log(column) if kernel.is_log else column, kernel)
            else:
                total += _discrete(column, kernel)
        highest = total.max(axis=1)
        highest[np.isneginf(highest)] = 0.0
        log_sums: Array = np.log(np.exp(total - highest[:, None]).sum(axis=1)) + highest
    return log_sums


def _continuous(x: Array, kernel: Any) -> Array:
    inside = (kernel.adapted_low <= x) & (x <= kernel.adapted_high)
    z = (x[:, None] - kernel.mu) / kernel.sigma
    density: Array = -0.5 * z**2 - (_LOG_SQRT_2PI + np.log(kernel.sigma) + _log_mass_of_range(kernel))
    density[~inside] = -np.inf
    return density


def _discrete(x: Array, kernel: Any) -> Array:
    """The mass of the interval of one step around each point, among that of the range."""
    points, point_of = np.unique(x, return_inverse=True)
    # Equal observations have equal kernels, and integers repeat.
    pairs, pair_of = np.unique(kernel.mu + 1j * kernel.sigma, return_inverse=True)
    mu, sigma = pairs.real, pairs.imag
    left, right = points[:, None] - kernel.step / 2, points[:, None] + kernel.step / 2
    if kernel.is_log:
        left, right = np.log(left), np.log(right)
    mass = np.log(_mass((left - mu) / sigma, (right - mu) / sigma))
    density: Array = mass[np.ix_(point_of, pair_of)] - _log_mass_of_range(kernel)
    return density


def _log_mass_of_range(kernel: Any) -> Array:
    low, high = kernel.adapted_low, kernel.adapted_high
    logs: Array = np.log(_mass((low - kernel.mu) / kernel.sigma, (high - kernel.mu) / kernel.sigma))
    return logs


def _mass(low: Array, high: Array) -> Array:
    """The mass of the standard normal between two points, computed in the left tail, where differences keep digits."""
    from scipy.special import ndtr

    right = low > 0
    mass: Array = ndtr(np.where(right, -low, high)) - ndtr(np.where(right, -high, low))
    return mass
