"""The trials of a study as the models see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.freeze_thaw.curve_model import Observed
from hpo.freeze_thaw.encoding import Encoding
from hpo.freeze_thaw.learned import EpochSeconds, Feasibility
from hpo.freeze_thaw.progress import Progress
from hpo.freeze_thaw.scale import Scale
from hpo.study.space import configuration_key

__all__ = ["Known"]

Array = NDArray[np.float64]

MOST_PLACES = 500
"""How many values the model learns from: it takes the cube of it in time."""

LEADERS = 40
"""The best trials, whose whole curves the model sees; of the others less where there are many."""


class Known:
    """What is known of trials of which at least one has a finite value.

    points: of the configurations seen so far, by trial number; those that are new are added
    scale:  what the objective's values are to the model
    leader: the trial with the best value, of those that are feasible if any is; best: that value, as the model sees it
    """

    def __init__(
        self,
        trials: Sequence[Progress],
        encoding: Encoding,
        points: dict[int, Array],
        epochs: int,
        *,
        maximize: bool,
    ) -> None:
        # Not of trials that may yet get other parameters, or none, under their number.
        fresh = [trial for trial in trials if trial.number not in points and (len(trial.values) or trial.ended)]
        found = encoding.points([trial.params for trial in fresh])
        points.update((trial.number, point) for trial, point in zip(fresh, found, strict=True))
        self._points, self._columns, self._epochs = points, encoding.columns, epochs
        self.scale = Scale([trial.values for trial in trials], maximize=maximize)
        self._curves = {trial.number: self.scale.inside(trial.values) for trial in trials if len(trial.values)}
        self._order = sorted(
            (trial for trial in trials if trial.number in self._curves),
            key=lambda trial: (-self._curves[trial.number].max(), trial.number),
        )
        feasible = [trial for trial in self._order if not trial.infeasible]
        self.leader = (feasible or self._order)[0]
        self.best = float(self._curves[self.leader.number].max())
        seen = [trial for trial in self._order if np.isfinite(trial.seconds)]
        self.seconds = EpochSeconds(self.points_of(seen), np.array([trial.seconds for trial in seen]))
        self._tried = [trial.params for trial in trials]
        tried = [trial for trial in trials if trial.infeasible or trial.number in self._curves]
        self.feasibility = Feasibility(self.points_of(tried), np.array([trial.infeasible for trial in tried]))

    @property
    def begun(self) -> list[Progress]:
        """Trials with an epoch, the best first."""
        return self._order

    @property
    def paused(self) -> list[Progress]:
        """Trials with an epoch that may go on, the best first."""
        return [trial for trial in self._order if trial.waits and len(trial.values) < self._epochs]

    def untried(self, configurations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that no trial has had."""
        tried = {configuration_key(params) for params in self._tried}
        return [params for params in configurations if configuration_key(params) not in tried]

    def points_of(self, trials: Iterable[Progress]) -> Array:
        """[n, columns]"""
        found = [self._points[trial.number] for trial in trials]
        return np.array(found, dtype=np.float64).reshape(len(found), self._columns)

    def observed(self, trials: Sequence[Progress], epochs: Array) -> Observed:
        """A place of each trial's curve."""
        return Observed(self.points_of(trials), epochs, np.array([trial.number for trial in trials], dtype=np.int64))

    def places(self, draw: np.random.Generator) -> tuple[Observed, Array]:
        """MOST_PLACES values at most, and where they are: whole curves of the leaders, then ends of the others."""
        leaders, others = self._order[:LEADERS], self._order[LEADERS:]
        chosen = [(trial, epoch) for trial in leaders for epoch in _spaced(len(trial.values))]
        room = MOST_PLACES - len(chosen)
        if len(others) > room:
            others = [others[place] for place in sorted(draw.choice(len(others), room, replace=False))]
        chosen += [(trial, len(trial.values)) for trial in others]
        # Where there is room, how each of them began: that is what new trials will be compared with.
        chosen += [(trial, 1) for trial in others if len(trial.values) > 1][: MOST_PLACES - len(chosen)]
        values = np.array([self._curves[trial.number][epoch - 1] for trial, epoch in chosen])
        epochs = np.array([epoch for _, epoch in chosen], dtype=np.float64)
        return self.observed([trial for trial, _ in chosen], epochs), values


def _spaced(length: int) -> list[int]:
    """Epochs of a curve, closer at its beginning, with the last: about eleven of fifty."""
    spaced, epoch = [], 1.0
    while round(epoch) < length:
        spaced.append(round(epoch))
        epoch = max(epoch + 1.0, 1.45 * epoch)
    return [*spaced, length]
