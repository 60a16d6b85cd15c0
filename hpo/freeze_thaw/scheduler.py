"""Freeze-thaw: at a free slot, go on with a paused trial or begin a new one, whichever promises more a second.

After ifBO (Rakotoarison et al., 2024, arXiv 2404.16795), with a Gaussian process learned from the study's own curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from hpo.freeze_thaw.curve_model import CurveModel, Observed
from hpo.freeze_thaw.drawing import draw_evenly, draw_near
from hpo.freeze_thaw.encoding import Encoding
from hpo.freeze_thaw.known import Known
from hpo.freeze_thaw.progress import Belief, Decision, Progress
from hpo.study.space import Space

__all__ = ["FreezeThaw"]

Array = NDArray[np.float64]

STARTUP_TRIALS = 8
"""New configurations are drawn evenly until so many have begun: the model knows too little to say where to look."""

EVENLY, NEAR = 100, 50
"""How many new configurations are weighed in a decision: drawn evenly, and near the best that are known."""

GOAL = (-4.0, -1.0)
"""How far above the best value the goal lies, as a power of ten of the values' deviation: evenly between these."""

MOST_PAUSED = 200
"""How many paused trials are weighed, the best of them."""


class FreezeThaw:
    """Decides for one study. It keeps what makes the next decision quicker: points of configurations, the kernel."""

    def __init__(self, space: Space, epochs: int, *, maximize: bool) -> None:
        self._space, self._epochs, self._maximize = space, epochs, maximize
        self._encoding = Encoding(space)
        self._model = CurveModel(self._encoding.columns, epochs)
        self._points: dict[int, Array] = {}

    def decide(self, trials: Sequence[Progress], draw: np.random.Generator) -> Decision:
        """What a free slot trains next, knowing where all trials of the study stand.

        A trial that waits for its first epoch (the baseline, one put back in the queue) comes before all others.
        """
        first = max(1, round(self._epochs / 26))
        untouched = [trial for trial in trials if not (trial.values or trial.until or trial.ended)]
        if untouched:
            return Decision(untouched[0].number, untouched[0].params, first)
        if not any(np.isfinite(trial.values).any() for trial in trials):
            return Decision(None, draw_evenly(self._space, draw), first)
        known = Known(trials, self._encoding, self._points, self._epochs, maximize=self._maximize)
        self._model.learn(*known.places(draw), sum(len(trial.values) for trial in trials), draw)
        if known.training:
            expected = np.array([trial.until for trial in known.training], dtype=np.float64)
            self._model.believe(known.observed(known.training, expected))
        return self._choose(known, first, draw)

    def _choose(self, known: Known, first: int, draw: np.random.Generator) -> Decision:
        """The trial whose end has the largest expected gain beyond a goal, for the seconds that an epoch of it takes.

        How far the goal lies above the best value is drawn anew for every decision: a near one is passed by what is
        good, a far one only by what is uncertain.
        """
        paused = known.paused[:MOST_PAUSED]
        new = self._new(known, draw)
        points = np.concatenate([known.points_of(paused), self._encoding.points(new)])
        numbers = np.array([trial.number for trial in paused] + [-1 - place for place in range(len(new))])
        ends = np.full(len(points), float(self._epochs))
        means, spreads = self._model.predict(Observed(points, ends, numbers))
        goal = known.best + 10.0 ** draw.uniform(*GOAL)
        away = (goal - means) / spreads
        feasible = known.feasibility.predict(points)
        seconds = self._seconds(known, paused, points)
        best = int(np.argmax(np.log(spreads * feasible / seconds) + _log_gain(away)))
        belief = Belief(
            epoch=self._epochs,
            goal=known.scale.outside(goal),
            expected=known.scale.outside(float(means[best])),
            spread=known.scale.spread_outside(float(means[best]), float(spreads[best])),
            chance=float(ndtr(-away[best]) * feasible[best]),
            seconds=float(seconds[best]),
            rivals=len(points) - 1,
        )
        if best >= len(paused):
            return Decision(None, new[best - len(paused)], first, belief)
        trial = paused[best]
        # As many epochs again: shorter steps found no more, and take more decisions and more checkpoints.
        return Decision(trial.number, trial.params, min(2 * len(trial.values), self._epochs), belief)

    def _seconds(self, known: Known, paused: Sequence[Progress], points: Array) -> Array:
        """Of an epoch of each candidate: those that have trained come first, and are known."""
        of_paused = np.array([trial.seconds for trial in paused], dtype=np.float64)
        found = np.concatenate([of_paused, known.seconds.predict(points[len(paused) :])])
        return np.where(np.isfinite(found) & (found > 0.0), found, 1.0)

    def _new(self, known: Known, draw: np.random.Generator) -> list[dict[str, Any]]:
        new = [draw_evenly(self._space, draw) for _ in range(EVENLY)]
        if len(known.begun) < STARTUP_TRIALS:
            return new
        leaders = known.begun[:5]
        for place in range(NEAR):
            width = (0.05, 0.15, 0.3)[place % 3]
            new.append(draw_near(self._space, leaders[place % len(leaders)].params, draw, width=width, share=0.5))
        return new


def _log_gain(away: Array) -> Array:
    """The logarithm of what a standard normal variable is expected to pass `away` by."""
    density = -0.5 * away * away - 0.5 * math.log(2.0 * math.pi)
    near = np.minimum(away, 5.0)
    gain = np.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi) - near * ndtr(-near)
    # Far below the goal the difference of the two is lost to rounding; the first terms of its series are not.
    found: Array = np.where(away < 5.0, np.log(gain), density - np.log(away * away + 3.0))
    return found
