"""The Pareto front, a figure for each pair of objectives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from hpo.report.data import ReportData
from hpo.report.figures.marks import sampled_trials
from hpo.report.plot import Drawing, NotDrawable
from hpo.report.theme import COLOURS, FAINT, SYMBOLS, label
from hpo.results.best import why_no_best

__all__ = ["pareto_front"]


def pareto_front(data: ReportData) -> Drawing:
    if not data.complete:
        raise NotDrawable(f"{why_no_best(data.view.trials).capitalize()}.")
    front = {trial.number for trial in data.best}
    feasible = set(data.trials.loc[data.trials["eligible"], "number"])
    drawn, notes = sampled_trials(data, data.complete)
    kinds = {
        "infeasible": [trial for trial in drawn if trial.number not in feasible],
        "beaten": [trial for trial in drawn if trial.number in feasible - front],
        "front": [trial for trial in drawn if trial.number in front],
    }
    figures = []
    for x, y in itertools.combinations(range(len(data.objectives)), 2):
        figure = go.Figure()
        for kind, trials in kinds.items():
            if trials:
                figure.add_trace(_points(kind, trials, x, y))
        figure.update_xaxes(title_text=_aim(data, x))
        figure.update_yaxes(title_text=_aim(data, y))
        figure.update_layout(height=430)
        figures.append(figure)
    if kinds["infeasible"]:
        notes.append("Infeasible trials broke a constraint and cannot be on the front.")
    return Drawing(figures, notes)


def _points(kind: str, trials: Sequence[FrozenTrial], x: int, y: int) -> Any:
    marker = {
        "infeasible": {"color": COLOURS["waiting"], "symbol": "x", "size": 6, "opacity": FAINT},
        "beaten": {"color": COLOURS["complete"], "symbol": "circle", "size": 6, "opacity": 0.6},
        "front": {
            "color": COLOURS["best"],
            "symbol": SYMBOLS["best"],
            "size": 12,
            "line": {"width": 1, "color": "#ffffff"},
        },
    }[kind]
    return go.Scatter(
        x=[trial.values[x] for trial in trials], y=[trial.values[y] for trial in trials], mode="markers", name=kind,
        customdata=[trial.number for trial in trials], marker=marker,
        hovertemplate="trial %{customdata}<br>%{x}<br>%{y}<extra>" + kind + "</extra>",
    )  # fmt: skip


def _aim(data: ReportData, index: int) -> str:
    return f"{label(data.objectives[index])} ({data.view.directions[index]})"
