"""What a search that pauses trials believed of their ends, against what came."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from hpo.report.data import ReportData
from hpo.report.figures.marks import POINTS
from hpo.report.plot import Drawing, NotDrawable, thin
from hpo.report.theme import COLOURS, label, robust_range
from hpo.report.words import are, number, percent
from hpo.storage.trial_record import decisions_of

__all__ = ["can_foresee", "ends"]


@dataclass(frozen=True)
class _Foreseen:
    """A decision about a trial that has reached its last epoch since: what was expected there, and what came.

    after: where the trial stood then, in epochs
    """

    trial: int
    after: int
    expected: float
    spread: float
    came: float


def can_foresee(data: ReportData) -> bool:
    """Whether the search said of any trial what it expected."""
    return any("expected" in row for trial in data.view.trials for row in decisions_of(trial))


def ends(data: ReportData) -> Drawing:
    """Each decision as a mark: new trials and those that went on, beside the line on which belief and end agree."""
    told = [one for trial in data.view.trials for one in _told(trial)]
    foreseen = [one for one in told if math.isfinite(one.came)]
    if not foreseen:
        raise NotDrawable("No trial about which something was expected has reached its last epoch.")
    within = percent(sum(abs(one.came - one.expected) <= one.spread for one in foreseen) / len(foreseen))
    notes = [
        f"{within} of {len(foreseen):,} true ends lie within the spread that was believed (of a normal one 68 % do).",
        f"There {are(len(told) - len(foreseen))} more of trials without an end, or not yet.",
    ]
    middles = [value for one in foreseen for value in (one.expected, one.came)]
    low, high = robust_range(middles) or _around(middles)
    line = {"color": COLOURS["waiting"], "width": 1.2, "dash": "dot"}
    both = [low, high]
    figure = go.Figure(go.Scatter(x=both, y=both, mode="lines", name="as believed", hoverinfo="skip", line=line))
    new, went_on = ([one for one in foreseen if bool(one.after) == later] for later in (False, True))
    for name, chosen, outcome in (("a new trial", new, "pruned"), ("one that went on", went_on, "complete")):
        if chosen:
            figure.add_trace(_marks(thin(chosen, POINTS), name, outcome))
    objective = label(data.objectives[0])
    figure.update_xaxes(title_text=f"{objective} expected at the last epoch", range=[low, high])
    figure.update_yaxes(title_text="what came", range=[low, high])
    outside = sum(not (low <= one.expected <= high and low <= one.came <= high) for one in foreseen)
    return Drawing([figure], [*notes, *([f"Outside the axes {are(outside)}."] if outside else [])])


def _told(trial: FrozenTrial) -> Iterator[_Foreseen]:
    """Every decision that says what it expected; `came` is NaN for a trial without that epoch."""
    for row in decisions_of(trial):
        given = [row.get(name) for name in ("expected", "spread", "epoch")]
        if all(isinstance(value, int | float) and math.isfinite(value) for value in given):
            expected, spread, epoch = (float(value) for value in given if value is not None)
            came = trial.intermediate_values.get(int(epoch), math.nan)
            yield _Foreseen(trial.number, int(row["after"]), expected, abs(spread), float(came))


def _marks(foreseen: list[_Foreseen], name: str, outcome: str) -> Any:
    symbol = "circle-open" if outcome == "pruned" else "circle"
    return go.Scatter(
        x=[float(f"{one.expected:.6g}") for one in foreseen],
        y=[float(f"{one.came:.6g}") for one in foreseen],
        error_x={"array": [float(f"{one.spread:.3g}") for one in foreseen], "thickness": 0.8, "width": 0},
        customdata=[one.trial for one in foreseen],
        text=[f"after epoch {one.after}: {number(one.expected)} ± {number(one.spread)}" for one in foreseen],
        mode="markers",
        name=name,
        marker={"color": COLOURS[outcome], "symbol": symbol, "size": 7},
        hovertemplate="trial %{customdata}<br>%{text}<br>came %{y}<extra></extra>",
    )


def _around(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
    return low - margin, high + margin
