"""What an epoch of a configuration takes, and whether the configuration can be trained at all.

Learned by regression on places and their squares, which follows a limit or a minimum in any of them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochSeconds", "Feasibility"]

Array = NDArray[np.float64]


class EpochSeconds:
    """Seconds of an epoch of configurations that have not trained, from those that have: `seconds` of `points`."""

    def __init__(self, points: Array, seconds: Array) -> None:
        logs = np.log(np.maximum(seconds, 1e-9))
        self._weights: Array | None = None
        if len(logs):
            # Beyond what was seen by half an order of e at most: it is a guess there.
            self._low, self._high = logs.min() - 0.5, logs.max() + 0.5
            self._middle = logs.mean()
            features = _features(points)
            penalty = 0.3 * np.eye(features.shape[1])
            penalty[0, 0] = 1e-6
            self._weights = np.linalg.solve(features.T @ features + penalty, features.T @ (logs - self._middle))

    def predict(self, points: Array) -> Array:
        """[n] seconds; NaN while nothing is known."""
        if self._weights is None:
            return np.full(len(points), math.nan)
        found: Array = np.exp(np.clip(_features(points) @ self._weights + self._middle, self._low, self._high))
        return found


class Feasibility:
    """The chance that a configuration neither runs out of memory nor diverges, by logistic regression."""

    def __init__(self, points: Array, infeasible: NDArray[np.bool_]) -> None:
        self._weights: Array | None = None
        if infeasible.any():
            features = _features(points)
            penalty = np.full(features.shape[1], 0.02)
            # As long as few are known, most configurations are taken to be feasible.
            prior = np.zeros(features.shape[1])
            prior[0] = 2.0
            self._weights = _logistic(features, ~infeasible, penalty, prior)

    def predict(self, points: Array) -> Array:
        """[n] chances; 1 while none was infeasible."""
        if self._weights is None:
            return np.ones(len(points))
        return _chance(_features(points) @ self._weights)


def _logistic(features: Array, outcomes: NDArray[np.bool_], penalty: Array, prior: Array) -> Array:
    """Newton's steps; the penalty keeps them finite where a plane divides the outcomes."""
    weights = prior.copy()
    for _ in range(12):
        chances = _chance(features @ weights)
        gradient = features.T @ (chances - outcomes) + penalty * (weights - prior)
        curvature = (features * (chances * (1.0 - chances))[:, None]).T @ features + np.diag(penalty)
        weights = weights - np.linalg.solve(curvature, gradient)
    return weights


def _features(points: Array) -> Array:
    return np.concatenate([np.ones((len(points), 1)), points, points * points], axis=1)


def _chance(logits: Array) -> Array:
    found: Array = 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
    return found
