"""The objective over several parameters at once.

Optuna's parallel coordinates have a trace for each trial, too many for a page of thousands, and its rank plot has fixed
colours, so both are drawn here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from hpo.report.data import ReportData
from hpo.report.figures.marks import sampled_trials
from hpo.report.figures.shading import body, colour_range, outside_note, scale
from hpo.report.plot import Drawing, NotDrawable, need_complete
from hpo.report.theme import SCALE, axis, colour_bar, label, log_ticks
from hpo.results.parameter_ranges import ParameterRange

__all__ = ["parallel", "rank"]

LINES = 500
AXES = 7


def parallel(data: ReportData) -> Drawing:
    need_complete(data, 2)
    shared = [one for one in data.varying() if all(one.name in trial.params for trial in data.complete)]
    shown = [one for one in shared if _values(data, one) > 1][:AXES]
    if not shown:
        raise NotDrawable("No parameter that all complete trials share took more than one value.")
    drawn, notes = sampled_trials(data, data.complete, LINES)
    values = [trial.values[0] for trial in drawn]
    low, high = colour_range(data)
    (worst, most), outside = body(data)
    figure = go.Figure(
        go.Parcoords(
            dimensions=[
                *(_dimension(one, drawn) for one in shown),
                {
                    "label": label(data.objectives[0], 20),
                    "values": [min(max(value, worst), most) for value in values],
                    "range": [worst, most],
                },
            ],
            line={
                "color": values,
                "colorscale": scale(data),
                "cmin": low,
                "cmax": high,
                "showscale": False,  # the last axis has the objective's numbers
            },
            labelfont={"size": 13},
            tickfont={"size": 12, "color": "#1e293b"},
            rangefont={"size": 1, "color": "#ffffff"},
        )
    )
    figure.update_layout(height=430, margin={"l": 64, "r": 64, "t": 64, "b": 28})
    figure.update_layout(meta=_for_the_explorer(data, drawn, shown))
    left = [one.name for one in data.varying() if one not in shown]
    if left:
        notes.append(f"Left out (conditional, or less important): {', '.join(left)}.")
    if outside:
        notes.append(outside_note(data, outside, f"at the edge of the axis of {data.objectives[0]}"))
    return Drawing([figure], [*notes, "The points and the table below follow."], wide=True)


def rank(data: ReportData) -> Drawing:
    need_complete(data, 4)
    varying = [each for each in data.varying() if _values(data, each) > 1]
    first, second = _two(data, varying)
    third = [more for more in varying if more not in (first, second)][:1]
    order = sorted((trial.values[0] for trial in data.complete), reverse=data.view.directions[0] == "minimize")
    place = {value: index / (len(order) - 1) for index, value in enumerate(order)}
    drawn, notes = sampled_trials(data, data.complete)
    figures: list[Any] = []
    for x, y in [(first, second), *((one, more) for more in third for one in (first, second))]:
        trials = [trial for trial in drawn if x.name in trial.params and y.name in trial.params]
        if trials:
            figures.append(_ranked(trials, [place[trial.values[0]] for trial in trials], x, y, bar=not figures))
    return Drawing(figures, notes)


def _ranked(
    trials: Sequence[FrozenTrial], places: list[float], x: ParameterRange, y: ParameterRange, *, bar: bool
) -> Any:
    xs, ys = ([_shown(one, trial) for trial in trials] for one in (x, y))
    figure = go.Figure(
        go.Scatter(
            x=xs, y=ys, mode="markers", customdata=[trial.number for trial in trials], showlegend=False,
            hovertemplate="trial %{customdata}<br>%{x}<br>%{y}<extra></extra>",
            marker={
                "color": places, "colorscale": SCALE, "cmin": 0, "cmax": 1, "size": 9, "showscale": bar,
                "line": {"width": 0.7, "color": "#64748b"},
                "colorbar": colour_bar("rank", tickvals=[0, 0.5, 1], ticktext=["worst", "median", "best"]),
            },
        )
    )  # fmt: skip
    figure.update_xaxes(**axis(x, xs))
    figure.update_yaxes(**axis(y, ys))
    figure.update_layout(height=340)
    return figure


def _dimension(parameter: ParameterRange, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    values = [trial.params[parameter.name] for trial in trials]
    shown: dict[str, Any] = {"label": label(parameter.name, 20)}
    if not parameter.numeric:
        choices = sorted({str(value) for value in values})
        ticks = list(range(len(choices)))
        return shown | {
            "values": [choices.index(str(value)) for value in values],
            "tickvals": ticks,
            "ticktext": [choice[:16] for choice in choices],  # the only place where plotly reads no tags
        }
    if not parameter.log:
        few = sorted(set(values))
        named = {"tickvals": few, "ticktext": [f"{value:g}" for value in few]} if len(few) <= 8 else {}
        return shown | {"values": values} | named
    marks = log_ticks(min(values), max(values))
    return shown | {
        "values": [math.log10(value) for value in values],
        "range": [math.log10(min(values)), math.log10(max(values))],
        "tickvals": [math.log10(tick) for tick in marks],
        "ticktext": [f"{tick:g}" for tick in marks],
    }


def _for_the_explorer(
    data: ReportData, trials: Sequence[FrozenTrial], shown: Sequence[ParameterRange]
) -> dict[str, Any]:
    """What page/explorer.js needs beside the axes: which trials these are, their objective as it is, and how an axis'
    places are read: as categories, as powers of ten, or as they stand."""
    seconds = dict(zip(data.trials["number"], data.trials["seconds"], strict=True))
    return {
        "direction": data.view.directions[0],
        "trials": [trial.number for trial in trials],
        "values": [trial.values[0] for trial in trials],
        "seconds": [None if math.isnan(took := float(seconds[trial.number])) else took for trial in trials],
        "log": [index for index, one in enumerate(shown) if one.numeric and one.log],
        "categories": {
            str(index): sorted({str(trial.params[one.name]) for trial in trials})
            for index, one in enumerate(shown)
            if not one.numeric
        },
    }


def _two(data: ReportData, among: Sequence[ParameterRange]) -> tuple[ParameterRange, ParameterRange]:
    """The two most important of `among` that took several values in trials that have both."""
    for one, other in itertools.combinations(among, 2):
        both = [trial for trial in data.complete if one.name in trial.params and other.name in trial.params]
        if all(len({trial.params[each.name] for trial in both}) > 1 for each in (one, other)):
            return one, other
    raise NotDrawable("It needs two parameters that took more than one value in complete trials.")


def _values(data: ReportData, parameter: ParameterRange) -> int:
    return len({trial.params[parameter.name] for trial in data.complete if parameter.name in trial.params})


def _shown(parameter: ParameterRange, trial: FrozenTrial) -> Any:
    value = trial.params[parameter.name]
    return value if parameter.numeric else label(value)
