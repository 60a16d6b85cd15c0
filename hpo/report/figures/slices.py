"""Small plots, one for each parameter: the objective, and the time, against its values."""

from __future__ import annotations

from typing import Any

import pandas
import plotly.graph_objects as go

from hpo.report.data import ReportData
from hpo.report.figures.marks import finite_rows, marks, sampled
from hpo.report.plot import Drawing, NotDrawable
from hpo.report.theme import COLOURS, axis, label, log_axis, robust_range

__all__ = ["slices", "times"]

PANELS = 24
POINTS = 600


def slices(data: ReportData) -> Drawing:
    return _panels(data, data.values[0], data.objectives[0])


def times(data: ReportData) -> Drawing:
    return _panels(data, "seconds", "time of a trial (s)")


def _panels(data: ReportData, column: str, title: str) -> Drawing:
    rows = finite_rows(data.trials, column)
    rows = rows[rows["state"].isin(("complete", "pruned"))]
    if rows.empty:
        raise NotDrawable("No finished trial has a value yet." if column != "seconds" else "No trial has finished yet.")
    parameters = data.varying()
    if not parameters:
        raise NotDrawable("No parameter took more than one value.")
    notes = _left_out(data)
    if len(parameters) > PANELS:
        notes.append(f"The {PANELS} most important of {len(parameters)} parameters are drawn.")
    complete = rows.loc[rows["state"] == "complete", column]
    shown = robust_range(list(complete)) if len(complete) >= 8 and column != "seconds" else None
    outside = 0
    figures = []
    for parameter in parameters[:PANELS]:
        name = f"params_{parameter.name}"
        mine = finite_rows(rows, name)
        if mine.empty:
            continue
        drawn, thinned = sampled(data, mine, POINTS)
        notes += [note for note in thinned if not any("even sample" in known for known in notes)]
        figure = go.Figure(marks(data, drawn, name, column, small=True))
        values = mine[name].tolist() if parameter.numeric else [label(value) for value in mine[name]]
        figure.update_xaxes(**axis(parameter, values))
        figure.update_yaxes(title_text=label(title))
        if shown is not None:
            outside = max(outside, _outside(mine[column], shown))
            figure.update_yaxes(range=list(shown))
        if column == "seconds":
            figure.update_yaxes(**_time_axis(rows[column]))
        figure.update_layout(height=270, showlegend=False, margin={"l": 52, "r": 10, "t": 12, "b": 44})
        figures.append(figure)
    if outside:
        notes.append(f"Up to {outside:,} trials lie outside the range shown; double-click a plot to see all.")
    seen = {trace.name for figure in figures for trace in figure.data}
    return Drawing(figures, notes, key=[name for name in COLOURS if name in seen])


def _time_axis(seconds: pandas.Series) -> dict[str, Any]:
    """Logarithmic where a few slow trials would press all others onto the axis."""
    positive = seconds[seconds > 0]
    if len(positive) and positive.max() > 20 * positive.median():
        return log_axis(float(positive.min()), float(positive.max()))
    return {"rangemode": "tozero"}


def _left_out(data: ReportData) -> list[str]:
    single = [parameter.name for parameter in data.parameters if not parameter.varies]
    return [f"Left out, because it took a single value: {', '.join(single)}."] if single else []


def _outside(values: pandas.Series, shown: tuple[float, float]) -> int:
    return int(((values < shown[0]) | (values > shown[1])).sum())
