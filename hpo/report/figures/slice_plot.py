"""Small plots, one for each parameter: the objective, and the seconds of an epoch, against its values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas
import plotly.graph_objects as go

from hpo.report.data import ReportData
from hpo.report.figures.marks import finite_rows, marks, sampled
from hpo.report.figures.spreading import SPREAD_NOTE, spread
from hpo.report.plot import Drawing, NotDrawable
from hpo.report.theme import COLOURS, label, log_axis, robust_range
from hpo.results.parameter_ranges import ParameterRange

__all__ = ["slice_plot", "times"]

PANELS = 24
POINTS = 600
PACE = "seconds_per_step"
BESIDE = "beside"
"""The column of where a trial stands that others would hide."""


def slice_plot(data: ReportData) -> Drawing:
    return _panels(data, data.values[0], data.objectives[0])


def times(data: ReportData) -> Drawing:
    """Of an epoch, not of a trial: how long a trial lives depends on the pruner, and its first epoch on the set-up."""
    unit = data.step_name if (data.trials["steps"] > 0).any() else "trial"
    return _panels(with_pace(data), PACE, f"seconds per {unit}")


def with_pace(data: ReportData) -> ReportData:
    """The same with seconds per epoch of each trial: training and scoring where recorded, else all of its time.

    Where no trial reported an epoch, the seconds of a trial.
    """
    table = data.trials
    recorded = table.get("train_seconds", pandas.Series(dtype="float64")).reindex(table.index)
    scored = table.get("eval_seconds", pandas.Series(dtype="float64")).reindex(table.index).fillna(0.0)
    seconds = (recorded + scored).fillna(table["seconds"])
    steps = pandas.to_numeric(table["steps"], errors="coerce")
    steps = steps.where(steps > 0) if (steps > 0).any() else steps + 1
    return replace(data, trials=table.assign(**{PACE: pandas.to_numeric(seconds / steps, errors="coerce")}))


def _panels(data: ReportData, column: str, title: str) -> Drawing:
    rows = finite_rows(data.trials, column)
    rows = rows[rows["state"].isin(("complete", "pruned"))]
    if rows.empty:
        raise NotDrawable(
            "No finished trial has a finite value yet." if column != PACE else "No finished trial reported an epoch."
        )
    parameters = data.varying()
    if not parameters:
        raise NotDrawable("No parameter took more than one value.")
    notes = _left_out(data)
    if len(parameters) > PANELS:
        notes.append(f"The {PANELS} most important of {len(parameters)} parameters are drawn.")
    complete = rows.loc[rows["state"] == "complete", column]
    shown = robust_range(list(complete)) if len(complete) >= 8 and column != PACE else None
    inside = rows[column].between(*shown) if shown is not None else pandas.Series(True, index=rows.index)
    figures, empty = [], []
    for parameter in parameters[:PANELS]:
        mine = finite_rows(rows, f"params_{parameter.name}")
        if mine.empty:
            continue
        empty += _unseen(parameter, mine, inside[mine.index])
        if not inside[mine.index].any():
            continue
        drawn, thinned = sampled(data, mine, POINTS)
        notes += [note for note in thinned if not any("even sample" in known for known in notes)]
        figure = _panel(data, parameter, drawn, mine, column)
        figure.update_yaxes(title_text=label(title))
        if shown is not None and not inside.all():
            figure.update_yaxes(range=list(shown))
        if column == PACE:
            figure.update_yaxes(**_time_axis(rows[column]))
        figures.append(figure)
    if any(trace.text is not None for figure in figures for trace in figure.data):
        notes.append(SPREAD_NOTE)
    if not inside.all():
        notes.append(
            f"{int((~inside).sum()):,} of {len(rows):,} trials lie outside the range shown; double-click a plot to see "
            "all."
        )
    if empty:
        notes.append(f"No trial within that range, so nothing to see: {', '.join(empty)}.")
    seen = {trace.name for figure in figures for trace in figure.data}
    return Drawing(figures, notes, key=[name for name in COLOURS if name in seen])


def _panel(
    data: ReportData, parameter: ParameterRange, drawn: pandas.DataFrame, mine: pandas.DataFrame, column: str
) -> Any:
    name = f"params_{parameter.name}"
    places, shown = spread(mine, parameter)
    if places is None:
        figure = go.Figure(marks(data, drawn, name, column, small=True))
    else:
        beside = drawn.assign(**{BESIDE: places[drawn.index]})
        figure = go.Figure(marks(data, beside, BESIDE, column, small=True, told=name))
    figure.update_xaxes(**shown)
    figure.update_layout(height=270, showlegend=False, margin={"l": 52, "r": 10, "t": 12, "b": 44})
    return figure


def _unseen(parameter: ParameterRange, mine: pandas.DataFrame, inside: pandas.Series) -> list[str]:
    """A parameter, or choices of it, whose trials all lie outside the range: `optimizer = sgd (12 trials)`."""
    if not inside.any():
        return [f"{parameter.name} ({_trials(len(mine))}, not drawn)"]
    if parameter.numeric:
        return []
    by_choice = inside.groupby(mine[f"params_{parameter.name}"].astype(str))
    return [f"{parameter.name} = {choice} ({_trials(len(some))})" for choice, some in by_choice if not some.any()]


def _trials(count: int) -> str:
    return f"{count:,} trial{'s' if count != 1 else ''}"


def _time_axis(seconds: pandas.Series) -> dict[str, Any]:
    """Logarithmic if a few slow trials would press all others onto the axis."""
    positive = seconds[seconds > 0]
    if len(positive) and positive.max() > 20 * positive.median():
        return log_axis(float(positive.min()), float(positive.max()))
    return {"rangemode": "tozero"}


def _left_out(data: ReportData) -> list[str]:
    single = [parameter.name for parameter in data.parameters if not parameter.varies]
    return [f"Left out, because it took a single value: {', '.join(single)}."] if single else []
