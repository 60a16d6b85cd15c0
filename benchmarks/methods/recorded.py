"""Recorded curves of real training: what benchmarks.record_curves wrote, as a problem.

HPO_CURVES names the folder. A configuration has the curve of the nearest one that was recorded, of those whose choices
and active rows are the same, so the space is a mosaic of real curves with the noise of real seeds; what a curve would
be without its noise is not known, and regret is by the values themselves.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from benchmarks.methods.problems import Curve, Reference
from hpo.errors import StudyError
from hpo.freeze_thaw.encoding import Encoding
from hpo.storage.trial_record import record_of
from hpo.study.discovery import find_study
from hpo.study.parameters import Categorical
from hpo.study.study import Study

__all__ = ["Recorded", "recorded_problems", "write_curves"]


class Recorded:
    """Curves of one study as write_curves kept them. len: how many."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as kept:
            about = json.loads(str(kept["about"]))
            self._values, self._seconds = kept["values"].astype(float), kept["seconds"].astype(float)
        self.name, self.epochs = path.stem, int(self._values.shape[1])
        study = find_study(about["study"]).study
        if study.rows.describe() != about["rows"]:
            raise StudyError(f"{path} has curves of other rows than {about['study']} has now", next="record it anew")
        self.space, self.baseline = study.rows, about["baseline"]
        self._params: list[dict[str, Any]] = about["params"]
        self._failures: list[str] = about["failures"]
        self._encoding = Encoding(self.space)
        self._points = self._encoding.points(self._params)
        self._kinds: dict[Any, list[int]] = {}
        for place, params in enumerate(self._params):
            self._kinds.setdefault(self._kind(params), []).append(place)
        bests = [self._best(place) for place in range(len(self)) if not self._failures[place]]
        ended = [float(self._seconds[place].sum()) for place in range(len(self)) if not self._failures[place]]
        self.reference = Reference(max(bests), float(np.median(bests)), float(np.median(ended)))

    def __len__(self) -> int:
        return len(self._params)

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        """seed: not asked: every recorded curve has its own."""
        params = self._flat(config)
        alike = self._kinds.get(self._kind(params)) or list(range(len(self)))
        away = np.square(self._points[alike] - self._encoding.points([params])).sum(axis=1)
        place = alike[int(np.argmin(away))]
        values = tuple(float(value) for value in self._values[place] if math.isfinite(value))
        return Curve(values, values, tuple(map(float, self._seconds[place][: len(values)])), self._failures[place])

    def _best(self, place: int) -> float:
        return float(np.nanmax(self._values[place]))

    def _kind(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """What has to be the same: choices, and which rows are active."""
        rows = self.space.searched
        choices = [
            (name, params[name]) for name, row in rows.items() if isinstance(row, Categorical) and name in params
        ]
        return (*choices, *sorted(params))

    def _flat(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return self.space.parameters({name: config[name] for name in self.space.searched if name in config}, what="it")


def recorded_problems() -> list[Recorded]:
    """One for each file in HPO_CURVES."""
    return [Recorded(path) for path in sorted(Path(os.environ["HPO_CURVES"]).glob("*.npz"))]


def write_curves(
    path: Path, reference: str, study: Study, trials: Sequence[FrozenTrial], epochs: Iterable[Mapping[str, Any]]
) -> int:
    """Keep the curves of trials that have gone to their ends, or failed on the way. Returns how many.

    In the file, values and seconds are [curves, epochs] in 32 bits, higher is better, NaN behind a failure.
    reference: what names the study. epochs: a row for each trial (its number) and epoch, with its seconds
    """
    sign = 1.0 if study.directions[0] == "maximize" else -1.0
    seconds_of = {(row["trial"], row["epoch"]): row["seconds"] for row in epochs}
    whole = [trial for trial in trials if _failure(trial) or len(trial.intermediate_values) == study.epochs]
    kept = [trial for trial in whole if trial.params]
    values = np.full((len(kept), study.epochs), np.nan, dtype=np.float32)
    seconds = np.full((len(kept), study.epochs), np.nan, dtype=np.float32)
    for place, trial in enumerate(kept):
        for epoch, value in trial.intermediate_values.items():
            values[place, epoch - 1] = sign * value
            seconds[place, epoch - 1] = seconds_of.get((trial.number, epoch), np.nan)
    about = {
        "study": reference,
        "rows": study.rows.describe(),
        "baseline": study.parameters(study.baseline, what="the baseline"),
        "params": [trial.params for trial in kept],
        "failures": [_failure(trial) for trial in kept],
        "table": study.declaration(),
    }
    with path.with_suffix(".part").open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), values=values, seconds=seconds)
    path.with_suffix(".part").replace(path)
    return len(kept)


def _failure(trial: FrozenTrial) -> str:
    """Why a trial has no end: it ran out of memory or diverged; "" for one that has."""
    return str(record_of(trial).get("failure", {}).get("kind", ""))
