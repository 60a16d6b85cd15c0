"""Importances of both methods beside each other, one figure for each objective."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from hpo.report.data import ReportData
from hpo.report.importance import Importance
from hpo.report.plot import Drawing, NotDrawable
from hpo.report.theme import ACCENT, COLOURS, label

__all__ = ["importances"]

MOST = 20
_COLOURS = {"PED-ANOVA": COLOURS["complete"], "fANOVA": ACCENT}


def importances(data: ReportData) -> Drawing:
    found = data.importances
    if not found.rows:
        raise NotDrawable("; ".join(found.missing).capitalize() + ".")
    notes = list(found.warnings)
    notes += [f"{reason}." for reason in found.missing]
    figures = []
    for objective in data.objectives:
        rows = [row for row in found.rows if row.objective == objective]
        if rows:
            figures.append(_figure(rows, objective, found.ranking(objective, groups=True)[:MOST]))
    if any(row.members for row in found.rows):
        notes.append("Bold: the sum over all layers of a parameter that each layer has.")
    if len(data.varying()) > MOST:
        notes.append(f"The {MOST} most important are drawn; importances.csv has all {len(data.varying())}.")
    return Drawing(figures, notes)


def _figure(rows: list[Importance], objective: str, ranking: list[str]) -> Any:
    order = ranking[::-1]  # horizontal bars stack upwards
    figure = go.Figure()
    for method in ("fANOVA", "PED-ANOVA"):
        mine = {row.parameter: row for row in rows if row.method == method}
        names = [name for name in order if name in mine]
        if not names:
            continue
        most = max(row.trials for row in mine.values())
        figure.add_bar(
            y=[_name(mine[name]) for name in names],
            x=[100 * mine[name].share for name in names],
            orientation="h",
            name=f"{method} ({most:,} trials)",
            marker={"color": _COLOURS[method], "opacity": [0.3 if mine[name].warning else 1.0 for name in names]},
            text=[_words(mine[name], most) for name in names],
            textposition="outside",
            textfont={"size": 11},
            cliponaxis=False,
            customdata=[[mine[name].trials, label(mine[name].warning)] for name in names],
            hovertemplate="%{y}: %{x:.1f} %<br>rests on %{customdata[0]} trials<br>%{customdata[1]}<extra></extra>",
        )
    figure.update_layout(barmode="group", height=110 + 42 * len(order), bargap=0.3, legend_traceorder="reversed")
    figure.update_xaxes(
        title_text=f"share of {label(objective, 20)} explained (%)", range=[0, 118], tickvals=[0, 25, 50, 75, 100]
    )
    shown = {row.parameter: _name(row) for row in rows}
    figure.update_yaxes(categoryorder="array", categoryarray=[shown[name] for name in order], ticks="")
    return figure


def _words(row: Importance, most: int) -> str:
    fewer = f"  ({row.trials:,} trial{'s' if row.trials != 1 else ''})" if row.trials < most else ""
    return f"{100 * row.share:.0f} %{fewer}"


def _name(row: Importance) -> str:
    return f"<b>{label(row.parameter)}</b> (all layers)" if row.members else label(row.parameter)
