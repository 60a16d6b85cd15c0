"""How the best learned, beside the baseline: loss and accuracy of both, on train and on validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas
import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from hpo.report.data import ReportData
from hpo.report.plot import Drawing
from hpo.report.theme import COLOURS, label, robust_range

__all__ = ["can_learn", "learning"]

PANELS = (
    ("loss", (("train_loss", "train", "dot"), ("val_loss", "validation", "solid"))),
    ("accuracy", (("train_accuracy", "train", "dot"), ("val_accuracy", "validation", "solid"))),
)
"""Of a model that hpo trains. Any other has the curve of what it reported."""


def can_learn(data: ReportData) -> bool:
    """Whether a best trial of one objective has a curve."""
    return len(data.objectives) == 1 and bool(data.best) and data.best[0].number in set(data.curves.get("trial", ()))


def learning(data: ReportData) -> Drawing:
    panels = [
        (title, [line for line in lines if line[0] in data.curves and data.curves[line[0]].notna().any()])
        for title, lines in PANELS
    ]
    panels = [(title, lines) for title, lines in panels if lines] or [_reported(data)]
    figures = []
    for title, lines in panels:
        figure = go.Figure()
        shown: list[float] = []
        for name, trial in _drawn(data):
            curves = data.curves[data.curves["trial"] == trial.number]
            for column, part, dash in lines:
                figure.add_trace(
                    _curve(curves, data.step_name, column, f"{name}, {part}" if part else name, name, dash)
                )
                shown += [value for value in curves[column] if pandas.notna(value)]
        figure.update_xaxes(title_text=data.step_name)
        figure.update_yaxes(title_text=label(title))
        if (body := robust_range(shown)) is not None:
            figure.update_yaxes(range=list(body))
        figure.update_layout(height=320)
        figures.append(figure)
    return Drawing(figures)


def _drawn(data: ReportData) -> list[tuple[str, FrozenTrial]]:
    best, baseline = data.best[0], data.baseline
    known = set(data.curves["trial"])
    if baseline is None or baseline.number == best.number or baseline.number not in known:
        return [("best", best)]
    return [("baseline", baseline), ("best", best)]


def _reported(data: ReportData) -> tuple[str, list[tuple[str, str, str]]]:
    named = data.objectives[0]
    column = named if named in data.curves else next(
        (name for name in ("value", *data.own_metrics) if name in data.curves), data.curves.columns[-1]
    )  # fmt: skip
    return (named if column == "value" else str(column)), [(str(column), "", "solid")]


def _curve(curves: pandas.DataFrame, step: str, column: str, name: str, who: str, dash: str) -> Any:
    values: Sequence[Any] = curves[column].tolist()
    ys = [float(f"{value:.5g}") if pandas.notna(value) and math.isfinite(value) else None for value in values]
    return go.Scatter(
        x=curves[step].tolist(),
        y=ys,
        mode="lines+markers" if len(ys) < 30 else "lines",
        name=name,
        line={"color": COLOURS[who], "width": 2.5 if who == "best" else 1.8, "dash": dash},
        marker={"size": 5 if who == "best" else 4, "symbol": "circle" if who == "best" else "diamond"},
    )
