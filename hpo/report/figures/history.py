"""How the search went: the history, the learning curves, and the distribution of results."""

from __future__ import annotations

import math
from typing import Any

import pandas
import plotly.graph_objects as go

from hpo.report.data import ReportData
from hpo.report.data_frames import curve_column
from hpo.report.figures.marks import POINTS, finite_rows, marks, sampled
from hpo.report.figures.shading import body, outside_note
from hpo.report.plot import Drawing, NotDrawable, thin
from hpo.report.theme import ACCENT, COLOURS, FAINT, label, robust_range
from hpo.report.words import are, number
from hpo.results.best import ranked

__all__ = ["distribution", "history", "intermediate"]

CURVES = 120
METRICS = 12
"""Figures of learning curves; more nobody looks through."""


def history(data: ReportData) -> Drawing:
    figures, notes = [], []
    for index, column in enumerate(data.values):
        rows = finite_rows(data.trials, column)
        rows = rows[rows["state"].isin(("complete", "pruned"))]
        if rows.empty:
            raise NotDrawable("No trial has a value yet.")
        drawn, thinned = sampled(data, rows)
        figure = go.Figure(marks(data, drawn, "number", column))
        _best_so_far(data, figure, index)
        figure.update_xaxes(title_text="trial")
        figure.update_yaxes(title_text=label(data.objectives[index]))
        outside = _focus(data, figure, rows, column)
        notes += [note for note in (*thinned, *outside) if note not in notes]
        figures.append(figure)
    return Drawing(figures, notes)


def intermediate(data: ReportData) -> Drawing:
    """The objective's curves, then a figure for each metric of the user's own."""
    column = _curve_column(data)
    own = [name for name in data.own_metrics if name != column and _is_finite_anywhere(data.curves, name)]
    if data.curves.empty or (column not in data.curves and not own):
        raise NotDrawable("No trial reported a value between its start and its end.")
    if column in data.curves and _is_finite_anywhere(data.curves, column):
        columns = [column, *own]
    elif own:
        columns = own
    else:
        raise NotDrawable(f"No trial reported a finite {column}: each failed or diverged before it had one.")
    figures, notes = [], []
    for each in columns[:METRICS]:
        # A metric that is reported now and then is drawn through the steps in between.
        curves = data.curves[data.curves[each].notna()] if each in own else data.curves
        figure, thinned = _learning_curves(data, curves, each)
        figures.append(figure)
        notes += [note for note in thinned if note not in notes]
    if len(columns) > METRICS:
        notes.append(f"{METRICS} of {len(columns)} metrics drawn; curves.csv has all.")
    return Drawing(figures, notes)


def _is_finite_anywhere(curves: pandas.DataFrame, column: str) -> bool:
    return bool(curves[column].map(lambda value: pandas.notna(value) and math.isfinite(value)).any())


def _learning_curves(data: ReportData, curves: pandas.DataFrame, column: str) -> tuple[Any, list[str]]:
    """One figure, and what its notes say."""
    states = dict(zip(data.trials["number"], data.trials["state"], strict=True))
    by_trial = dict(list(curves.groupby("trial")))
    figure, notes = go.Figure(), []
    for outcome in ("failed", "pruned", "running", "complete"):
        numbers = [number for number in by_trial if states.get(number) == outcome]
        chosen = thin(numbers, CURVES)
        if chosen:
            figure.add_trace(_curves([by_trial[number] for number in chosen], data.step_name, column, outcome))
        if len(chosen) < len(numbers):
            notes.append(f"{len(chosen)} of {len(numbers):,} {outcome} trials drawn, an even sample.")
    for which, trial in (("baseline", data.baseline), ("best", data.best[0] if data.best else None)):
        if trial is not None and trial.number in by_trial:
            figure.add_trace(_curves([by_trial[trial.number]], data.step_name, column, which))
    complete = [number for number in by_trial if states.get(number) == "complete"]
    ends = [value for number in complete for value in by_trial[number][column].tail(3) if pandas.notna(value)]
    shown = robust_range(ends) or ((min(ends), max(ends)) if len(ends) >= 24 else None)
    if shown is not None and shown[0] < shown[1] and math.isfinite(shown[1] - shown[0]):
        reach = 0.25 * (shown[1] - shown[0])
        figure.update_yaxes(range=[shown[0] - reach, shown[1] + reach])
        notes.append("The axis shows where curves of complete trials end; double-click the plot to see all.")
    figure.update_xaxes(title_text=data.step_name, rangemode="tozero" if data.step_name == "epoch" else "normal")
    figure.update_yaxes(title_text=label(data.objectives[0] if column == "value" else column))
    return figure, notes


def distribution(data: ReportData) -> Drawing:
    if len(data.complete) < 2:
        raise NotDrawable(f"A distribution needs two complete trials; there {are(len(data.complete))}.")
    figures, notes = [], []
    for index, name in enumerate(data.objectives):
        if len({trial.values[index] for trial in data.complete}) < 2:
            raise NotDrawable("Every complete trial has the same value.")
        values = sorted(trial.values[index] for trial in data.complete)
        # Of trials that tie only the last counts: the share that reached at most a value takes all of them in.
        steps = thin([(value, place / len(values)) for value, place in _last_places(values)], POINTS)
        figure = go.Figure()
        figure.add_scatter(
            x=[values[0], *(value for value, _ in steps)], y=[0.0, *(share for _, share in steps)], mode="lines",
            line={"color": COLOURS["complete"], "width": 2.5, "shape": "hv"}, name="complete trials", showlegend=False,
        )  # fmt: skip
        (low, high), outside = body(data, index)
        if data.baseline is not None:
            notes += _baseline(figure, data.baseline.values[index], low, high)
        if outside:
            figure.update_xaxes(range=[low - 0.03 * (high - low), high + 0.03 * (high - low)])
            notes.append(outside_note(data, outside, "beyond its edge; double-click the plot to see all"))
        figure.update_xaxes(title_text=label(name))
        figure.update_yaxes(title_text="share of trials", range=[0, 1.02], tickformat=".0%")
        figures.append(figure)
    return Drawing(figures, notes)


def _last_places(values: list[float]) -> list[tuple[float, int]]:
    """Each different value of a sorted list, and how many values are no larger."""
    return list({value: place for place, value in enumerate(values, start=1)}.items())


def _baseline(figure: Any, value: float, low: float, high: float) -> list[str]:
    """A line at the baseline's value, named on the side that has room; or a note if the value is outside the range."""
    if not low <= value <= high:
        return [f"The baseline's {number(value)} is outside the range shown."]
    side, word = ("left", "baseline ") if value > (low + high) / 2 else ("right", " baseline")
    figure.add_vline(
        value, line={"dash": "dash", "color": COLOURS["baseline"], "width": 1.5}, annotation_text=word,
        annotation_position=f"top {side}", annotation_font={"color": COLOURS["baseline"], "size": 12},
    )  # fmt: skip
    return []


def _best_so_far(data: ReportData, figure: Any, index: int) -> None:
    if len(data.objectives) == 1 and data.best:
        eligible = sorted(ranked(data.view.trials, data.view.directions), key=lambda trial: trial.number)
        pick = max if data.view.directions[0] == "maximize" else min
        xs: list[int] = []
        ys: list[float] = []
        for trial in eligible:
            value = pick(ys[-1], trial.values[0]) if ys else trial.values[0]
            if not ys or value != ys[-1]:
                xs.append(trial.number)
                ys.append(value)
        xs.append(int(data.trials["number"].max()))
        ys.append(ys[-1])
        line = {"shape": "hv", "color": ACCENT, "width": 2}
        figure.add_scatter(x=xs, y=ys, mode="lines", name="best so far", line=line, hoverinfo="skip")
    if data.baseline is not None:
        figure.add_hline(
            data.baseline.values[index],
            line={"dash": "dash", "color": COLOURS["baseline"], "width": 1.2},
            layer="below",
        )


def _focus(data: ReportData, figure: Any, rows: pandas.DataFrame, column: str) -> list[str]:
    """Show most of the results, and say how many lie outside."""
    complete = rows.loc[rows["state"] == "complete", column]
    shown = robust_range(list(complete if len(complete) >= 8 else rows[column]))
    if shown is None and 4 <= len(complete) < 8 and body(data, data.values.index(column))[1]:
        low, high = body(data, data.values.index(column))[0]
        shown = (low - 0.1 * (high - low), high + 0.1 * (high - low))
    if shown is None and len(complete) >= 8:
        reach = 0.15 * (complete.max() - complete.min()) or 0.05 * abs(complete.max()) or 1.0
        shown = (complete.min() - reach, complete.max() + reach)
    if shown is None:
        return []
    outside = int(((rows[column] < shown[0]) | (rows[column] > shown[1])).sum())
    if not outside:
        return []
    figure.update_yaxes(range=list(shown))
    lie = "trials lie" if outside != 1 else "trial lies"
    return [f"{outside:,} {lie} outside the range shown; double-click a plot to see all."]


def _curve_column(data: ReportData) -> str:
    objective = curve_column(data.objectives[0])
    return objective if objective in data.curves else "val_accuracy" if "epoch" in data.curves else "value"


def _curves(tables: list[pandas.DataFrame], step: str, column: str, outcome: str) -> Any:
    """Many curves as one trace with gaps between them: a browser draws a thousand traces far too slowly."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for table in tables:
        xs += [*table[step].tolist(), None]
        ys += [*(None if pandas.isna(value) else float(f"{value:.5g}") for value in table[column]), None]
    named, dash = outcome in ("best", "baseline"), "dash" if outcome == "baseline" else "solid"
    return go.Scatter(
        x=xs, y=ys, mode="lines+markers" if len(xs) < 20 else "lines", name=outcome, connectgaps=False,
        opacity=1.0 if named else FAINT if outcome == "pruned" else 0.8,
        line={"color": COLOURS[outcome], "width": 3 if named else 0.7 if outcome == "pruned" else 1.2, "dash": dash},
        marker={"size": 4},
    )  # fmt: skip
