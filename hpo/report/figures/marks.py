"""Trials as marks: the same colour, symbol and order for each outcome in every scatter plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas
import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from hpo.report.data import ReportData
from hpo.report.plot import thin
from hpo.report.theme import COLOURS, OPACITY, SYMBOLS, label

__all__ = ["POINTS", "finite_rows", "marks", "sampled", "sampled_trials"]

POINTS = 1500
"""Marks in one figure: more make the page slow on a phone and show nothing new."""


def finite_rows(rows: pandas.DataFrame, *columns: str) -> pandas.DataFrame:
    """The rows that have a value in each of these columns: a finite number, or any word in a column of words."""
    kept = pandas.Series(True, index=rows.index)
    for name in columns:
        kept &= rows[name].notna()
        if pandas.api.types.is_float_dtype(rows[name]):
            kept &= rows[name].abs() != float("inf")
    return rows[kept]


def sampled(data: ReportData, rows: pandas.DataFrame, limit: int = POINTS) -> tuple[pandas.DataFrame, list[str]]:
    """At most about `limit` rows, with the best and the baseline among them, and a note if some were left out."""
    if len(rows) <= limit:
        return rows, []
    named = {trial.number for trial in data.best} | ({data.baseline.number} if data.baseline else set())
    step = -(-len(rows) // limit)
    places = pandas.Series(range(len(rows)), index=rows.index)
    kept = rows[(places % step == 0) | rows["number"].isin(named)]
    return kept, [f"{len(kept):,} of {len(rows):,} trials drawn: an even sample, with the best."]


def sampled_trials(
    data: ReportData, trials: Sequence[FrozenTrial], limit: int = 800
) -> tuple[list[FrozenTrial], list[str]]:
    """At most about `limit` complete trials, with the best among them, and a note if some were left out."""
    named = {trial.number for trial in data.best}
    drawn = thin(trials, limit, lambda trial: trial.number in named)
    if len(drawn) == len(trials):
        return drawn, []
    return drawn, [f"{len(drawn):,} of {len(trials):,} complete trials drawn: an even sample, with the best."]


def marks(
    data: ReportData, rows: pandas.DataFrame, x: str, y: str, *, small: bool = False, told: str = ""
) -> list[Any]:
    """Scatter traces of `rows` by outcome, then the baseline and the best on top.

    told: the column to say of a mark in place of x
    """
    size = 6 if small else 7
    traces = []
    for outcome in ("waiting", "running", "pruned", "failed", "complete"):
        chosen = rows[rows["state"] == outcome]
        if not chosen.empty:
            traces.append(_trace(chosen, x, y, outcome, size, told or x))
    best = data.best[:1] if len(data.objectives) == 1 else data.best
    named = {"baseline": (data.baseline,) if data.baseline else (), "best" if len(best) < 2 else "front": best}
    for name, trials in named.items():
        chosen = rows[rows["number"].isin([trial.number for trial in trials])]
        if not chosen.empty:
            traces.append(_trace(chosen, x, y, name, size + (5 if small else 6), told or x))
    return traces


def _trace(rows: pandas.DataFrame, x: str, y: str, outcome: str, size: int, told: str) -> Any:
    return go.Scatter(
        x=_plain(rows[x]),
        y=_plain(rows[y]),
        customdata=rows["number"].tolist(),
        text=[f"{value:g}" if isinstance(value, float) else value for value in _plain(rows[told])]
        if told != x
        else None,
        mode="markers",
        name=outcome,
        legendgroup=outcome,
        opacity=OPACITY[outcome],
        marker={
            "color": COLOURS[outcome],
            "symbol": SYMBOLS[outcome],
            "size": size,
            "line": {"width": 1 if outcome in ("best", "front", "baseline") else 0.4, "color": "#ffffff"}
            if not SYMBOLS[outcome].endswith("-open")
            else {"width": 1.2},
        },
        hovertemplate="trial %{customdata}<br>%{"
        + ("text" if told != x else "x")
        + "}<br>%{y}<extra>"
        + outcome
        + "</extra>",
    )


def _plain(column: pandas.Series[Any]) -> list[Any]:
    if pandas.api.types.is_numeric_dtype(column) and not pandas.api.types.is_bool_dtype(column):
        return [float(f"{value:.6g}") for value in column]
    if pandas.api.types.is_datetime64_any_dtype(column):
        return list(column)
    return [label(value) for value in column]
