"""Freeze-thaw: at a free slot, go on with a paused trial or begin a new one, whichever promises more a second.

After ifBO (Rakotoarison et al., 2024, arXiv 2404.16795), with a Gaussian process learned from the study's own curves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from hpo.freeze_thaw.curve_model import CurveModel, Observed
from hpo.freeze_thaw.drawing import draw_believed, draw_evenly, draw_near
from hpo.freeze_thaw.encoding import Encoding
from hpo.freeze_thaw.known import Known
from hpo.freeze_thaw.progress import Belief, Decision, Progress
from hpo.study.believing import Beliefs
from hpo.study.space import Space

__all__ = ["Scheduler"]

Array = NDArray[np.float64]

STARTUP_TRIALS = 8
"""New configurations are drawn evenly until so many have begun: the model knows too little to say where to look."""

EVENLY, NEAR = 100, 50
"""How many new configurations are weighed in a decision: drawn evenly, and near the best that are known."""

GOAL = (-4.0, -1.0)
"""How far above the best value the goal lies, as a power of ten of the values' deviation: evenly between these."""

BELIEVED = 25
"""How many more are weighed that are drawn by what the user believes, if anything."""

BELIEF = 1.0
"""How much the logarithm of beliefs counts in a decision that goes by them."""

SHARE, FADES = 0.5, 20
"""In what share of decisions beliefs count at first, and after how many trials in half of that."""

MOST_PAUSED = 200
"""How many paused trials are weighed, the best of them."""

FIRST = 0.6
"""A new trial's first job has so many times the root of its epochs: 2 of 10, 3 of 20, 4 of 52, 6 of 100."""

LAST_CALL = 1.5
"""When the time left is less than so many times what the best trial needs to its end, it goes there."""

LEAST_CHANCE = 0.05
"""Where no trial may be begun, paused ones go on as long as one has this chance to become the best."""


class Scheduler:
    """Decides for one study. It keeps what makes the next decision quicker: points of configurations, the kernel."""

    def __init__(self, space: Space, epochs: int, *, maximize: bool, repeat: bool = False) -> None:
        self._space, self._epochs, self._maximize = space, epochs, maximize
        self._encoding, self._beliefs = Encoding(space), Beliefs(space)
        self._model = CurveModel(self._encoding.columns, epochs)
        self._points: dict[int, Array] = {}
        self._once = not repeat and space.may_repeat()

    def decide(
        self,
        trials: Sequence[Progress],
        draw: np.random.Generator,
        *,
        seconds_left: float = math.inf,
        may_begin: bool = True,
    ) -> Decision | None:
        """What a free slot trains next, knowing where all trials of the study stand; None where nothing is worth it.

        A trial that waits for its first epoch (the baseline, one put back in the queue) comes before all others.
        Nothing is begun, or gone on with, that could not reach its last epoch in `seconds_left`. Without `may_begin`
        no new trial is, and paused ones go on as long as one of them may well become the best.
        """
        first = max(1, round(FIRST * math.sqrt(self._epochs)))
        for trial in trials:
            if trial.waits and (trial.whole or not len(trial.values)):
                return Decision(
                    trial.number, trial.params, self._epochs if trial.whole else first, "it waited its turn"
                )
        if not any(np.isfinite(trial.values).any() for trial in trials):
            if not may_begin:
                return self._any(trials)
            return Decision(None, draw_believed(self._space, self._beliefs, draw), first, "nothing is known yet")
        known = Known(trials, self._encoding, self._points, self._epochs, maximize=self._maximize)
        last_call = self._finish(known, seconds_left)
        if last_call is not None:
            return last_call
        self._model.learn(*known.places(draw), sum(len(trial.values) for trial in trials), draw)
        return self._choose(known, first, draw, seconds_left, may_begin=may_begin)

    def _any(self, trials: Sequence[Progress]) -> Decision | None:
        """One that waits, where no trial has a finite value."""
        for trial in trials:
            if trial.waits and len(trial.values) < self._epochs:
                return Decision(trial.number, trial.params, self._further(trial), "no trial has a value yet")
        return None

    def _finish(self, known: Known, seconds_left: float) -> Decision | None:
        """The leader to its end, while there is just time for it: a value that no complete trial has is soon lost."""
        leader = known.leader
        needed = leader.left(self._epochs) * leader.seconds
        if not leader.waits or not needed <= seconds_left < LAST_CALL * needed:
            return None
        return Decision(leader.number, leader.params, self._epochs, "the best so far, and time for its end runs out")

    def _choose(
        self, known: Known, first: int, draw: np.random.Generator, seconds_left: float, *, may_begin: bool
    ) -> Decision | None:
        """The trial whose end has the largest expected gain beyond a goal, for what an epoch of it costs, and its end.

        How far the goal lies above the best value is drawn anew for every decision: a near one is passed by what is
        good, a far one only by what is uncertain.
        """
        paused = known.paused[:MOST_PAUSED]
        new = self._new(known, draw) if may_begin else []
        if not (paused or new):
            return None
        points = np.concatenate([known.points_of(paused), self._encoding.points(new)])
        numbers = np.array([trial.number for trial in paused] + [-1 - place for place in range(len(new))])
        ends = np.full(len(points), float(self._epochs))
        means, spreads = self._model.predict(Observed(points, ends, numbers))
        goal = known.best + 10.0 ** draw.uniform(*GOAL)
        away = (goal - means) / spreads
        feasible = known.feasibility.predict(points)
        seconds = self._seconds(known, paused, points)
        left = np.array([trial.left(self._epochs) for trial in paused] + [self._epochs] * len(new))
        fits = ~(left * seconds > seconds_left)
        if not fits.any():
            return None
        seconds = np.where(np.isfinite(seconds), seconds, 1.0)
        # By the root of the epochs that are left: with several slots the best trial is in training when the others
        # choose, and without it a new one, whose end is far and may be anything, is always better than the second best.
        gains = np.log(spreads * feasible / (seconds * np.sqrt(left))) + _log_gain(away)
        gains += self._believed(known, [*(trial.params for trial in paused), *new], draw)
        best = int(np.argmax(np.where(fits, gains, -np.inf)))
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
            return Decision(None, new[best - len(paused)], first, belief=belief)
        if not may_begin and belief.chance < LEAST_CHANCE:
            return self._last(known)
        trial = paused[best]
        return Decision(trial.number, trial.params, self._further(trial), belief=belief)

    def _believed(self, known: Known, candidates: Sequence[Mapping[str, Any]], draw: np.random.Generator) -> Array:
        """What the user believes of each candidate, in a share of the decisions; else 0."""
        if not self._beliefs or draw.random() >= SHARE * FADES / (FADES + len(known.begun)):
            return np.zeros(len(candidates))
        return BELIEF * np.array([self._beliefs.log_odds(params) for params in candidates])

    def _last(self, known: Known) -> Decision | None:
        """What remains when no paused trial may well become the best: the end of the one that is."""
        leader = known.leader
        if leader.waits and len(leader.values) < self._epochs:
            return Decision(leader.number, leader.params, self._epochs, "the best so far goes to its end")
        return None

    def _further(self, trial: Progress) -> int:
        """As many epochs again: shorter steps found no more, and take more decisions and more checkpoints."""
        return min(2 * len(trial.values), self._epochs)

    def _seconds(self, known: Known, paused: Sequence[Progress], points: Array) -> Array:
        """Of an epoch of each candidate, NaN where none is known: those that have trained come first."""
        of_paused = np.array([trial.seconds for trial in paused], dtype=np.float64)
        found = np.concatenate([of_paused, known.seconds.predict(points[len(paused) :])])
        return np.where(found > 0.0, found, np.nan)

    def _new(self, known: Known, draw: np.random.Generator) -> list[dict[str, Any]]:
        new = [draw_evenly(self._space, draw) for _ in range(EVENLY)]
        if self._beliefs:
            new += [draw_believed(self._space, self._beliefs, draw) for _ in range(BELIEVED)]
        if len(known.begun) < STARTUP_TRIALS:
            return known.untried(new) if self._once else new
        leaders = known.begun[:5]
        for place in range(NEAR):
            width = (0.05, 0.15, 0.3)[place % 3]
            new.append(draw_near(self._space, leaders[place % len(leaders)].params, draw, width=width, share=0.5))
        return known.untried(new) if self._once else new


def _log_gain(away: Array) -> Array:
    """The logarithm of what a standard normal variable is expected to pass `away` by."""
    density = -0.5 * away * away - 0.5 * math.log(2.0 * math.pi)
    near = np.minimum(away, 5.0)
    gain = np.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi) - near * ndtr(-near)
    # Far below the goal the difference of the two is lost to rounding; the first terms of its series are not.
    found: Array = np.where(away < 5.0, np.log(gain), density - np.log(away * away + 3.0))
    return found
