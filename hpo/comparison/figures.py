"""The two plots of a comparison: what each study came to, and how its best grew trial by trial."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import plotly.graph_objects as go

from hpo.comparison.comparison import StudyComparison
from hpo.comparison.contender import Contender
from hpo.report.plot import Drawing, Plot
from hpo.report.theme import COLOURS, SECOND, label, robust_range
from hpo.results.best import eligible

__all__ = ["comparison_plots"]

_COLOURS = (COLOURS["complete"], COLOURS["pruned"], COLOURS["best"], SECOND, COLOURS["failed"], COLOURS["baseline"])
_DASHES = ("solid", "dash")
"""One pair for each of at most twelve studies: apart from their colour, the second six are dashed."""


def comparison_plots(comparison: StudyComparison) -> list[Plot]:
    """Those that have something to show."""
    plots = []
    if any(one.measured or one.view.best for one in comparison.contenders):
        about = (
            "Mean and 95 % interval of fresh runs of each winner."
            if comparison.verdict.basis == "evaluation"
            else "The best of each search, which is optimistic."
        )
        plots.append(Plot("scores", "What each came to", about, Drawing([_scores(comparison)])))
    if any(one.view.best for one in comparison.contenders):
        about = "The best so far after each trial that counts, by the number of finished trials."
        plots.append(Plot("growth", "Best over time", about, Drawing([_growth(comparison)])))
    return plots


def _scores(comparison: StudyComparison) -> Any:
    measured = comparison.verdict.basis == "evaluation"
    figure = go.Figure()
    for index, one in enumerate(comparison.contenders):
        value, low, high = _value(one, measured=measured)
        if value is None:
            continue
        bar = {"array": [high - value], "arrayminus": [value - low], "thickness": 2} if low is not None else None
        figure.add_scatter(
            x=[value], y=[label(one.name, 28)], error_x=bar, mode="markers", showlegend=False,
            marker={"color": _COLOURS[index % len(_COLOURS)], "size": 11, "symbol": "circle" if measured else "star"},
            hovertemplate="%{x}<extra></extra>",
        )  # fmt: skip
    named = comparison.contenders[0].measured
    title = named.measure[0] if measured and named is not None else f"{comparison.metric} in the search"
    figure.update_xaxes(title_text=label(title), nticks=6)
    names = [label(one.name, 28) for one in comparison.contenders]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1])
    figure.update_layout(height=120 + 34 * len(names))
    return figure


def _value(one: Contender, *, measured: bool) -> tuple[float | None, Any, Any]:
    if measured and one.measured is not None:
        found = one.measured.score
        return found["mean"], found["low"], found["high"]
    best = one.view.best
    return (best.values[0] if best is not None else None), None, None


def _growth(comparison: StudyComparison) -> Any:
    figure = go.Figure()
    shown: list[float] = []
    for index, one in enumerate(comparison.contenders):
        xs, ys = _steps(one, up=comparison.direction == "maximize")
        shown += ys
        figure.add_scatter(
            x=xs, y=ys, mode="lines", name=label(one.name, 28),
            line={"color": _COLOURS[index % len(_COLOURS)], "width": 2.5, "shape": "hv",
                  "dash": _DASHES[index // len(_COLOURS) % 2]},
        )  # fmt: skip
    figure.update_xaxes(title_text="finished trials", rangemode="tozero")
    figure.update_yaxes(title_text=label(comparison.metric))
    if (body := robust_range(shown)) is not None:
        figure.update_yaxes(range=list(body))
    figure.update_layout(height=320)
    return figure


def _steps(one: Contender, *, up: bool) -> tuple[list[int], list[float]]:
    """Where the best grew, by how many trials had finished, and its last value once more at the end."""
    ended = sorted(
        (trial for trial in one.view.trials if trial.state.is_finished()),
        key=lambda trial: (trial.datetime_complete or datetime.min, trial.number),
    )
    counted = {trial.number for trial in eligible(ended)}
    xs: list[int] = []
    ys: list[float] = []
    for place, trial in enumerate(ended, 1):
        sign = 1.0 if up else -1.0
        if trial.number in counted and (not ys or sign * trial.values[0] > sign * ys[-1]):
            xs.append(place)
            ys.append(trial.values[0])
    return (xs, ys) if not ys else ([*xs, len(ended)], [*ys, ys[-1]])
