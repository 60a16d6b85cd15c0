"""Importances by both methods side by side, one figure for each objective."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from hpo.report.data import ReportData
from hpo.report.importance import Importance
from hpo.report.plot import Drawing, NotDrawable
from hpo.report.theme import ACCENT, COLOURS, label

__all__ = ["importances"]

MOST = 20
BEST_SHARE = 0.1
"""The share of trials that Optuna's PED-ANOVA compares with all, its default `target_quantile`."""
_COLOURS = {"PED-ANOVA": COLOURS["complete"], "fANOVA": ACCENT}


def importances(data: ReportData) -> Drawing:
    found = data.importances
    if not found.rows:
        raise NotDrawable("; ".join(found.missing).capitalize() + ".")
    notes = [_basis(data), *found.warnings]
    notes += [f"{reason}." for reason in found.missing]
    figures = []
    for objective in data.objectives:
        rows = [row for row in found.rows if row.objective == objective]
        if rows:
            figures.append(_figure(rows, objective, found.listing(objective)[:MOST]))
    if any(row.members for row in found.rows):
        notes.append(
            "Bold: a parameter that each layer has, all layers together. Striped below it: its layers, one by one."
        )
    if len(data.varying()) > MOST:
        notes.append(f"The {MOST} most important are drawn; importances.csv has all {len(data.varying())}.")
    return Drawing(figures, notes)


def _basis(data: ReportData) -> str:
    """The question that each method answers, and the trials that it uses."""
    count, pruned = len(data.complete), data.view.counts["pruned"]
    best = math.ceil(BEST_SHARE * count)
    left = f"; the {pruned:,} pruned {'ones are' if pruned != 1 else 'one is'} not in them" if pruned else ""
    return (
        f"PED-ANOVA: what sets the best tenth (here {best:,} trial{'s' if best != 1 else ''}) apart from the rest. "
        "fANOVA: what explains the variance over all, bad trials included. To refine a good result believe the first, "
        f"to keep away from bad ones the second. Both rest on the {count:,} complete trials{left}."
    )


def _figure(rows: list[Importance], objective: str, listing: list[str]) -> Any:
    order = listing[::-1]  # horizontal bars stack upwards
    inside = {name for row in rows for name in row.members}
    figure = go.Figure()
    for method in ("fANOVA", "PED-ANOVA"):
        mine = {row.parameter: row for row in rows if row.method == method}
        names = [name for name in order if name in mine]
        if not names:
            continue
        most = max(row.trials for row in mine.values())
        figure.add_bar(
            y=[_name(mine[name], inside) for name in names],
            x=[100 * mine[name].share for name in names],
            orientation="h",
            name=f"{method} ({most:,} trials)",
            marker={
                "color": _COLOURS[method],
                "opacity": [0.3 if mine[name].warning else 1.0 for name in names],
                "pattern": {"shape": ["/" if name in inside else "" for name in names], "solidity": 0.45, "size": 7},
            },
            text=[_words(mine[name], most) for name in names],
            textposition="outside",
            textfont={"size": 11},
            cliponaxis=False,
            customdata=[[mine[name].trials, label(mine[name].warning)] for name in names],
            hovertemplate="%{y}: %{x:.1f} %<br>rests on %{customdata[0]} trials<br>%{customdata[1]}<extra></extra>",
        )
    figure.update_layout(barmode="group", height=110 + 42 * len(order), bargap=0.3, legend_traceorder="reversed")
    largest = max(100 * row.share for row in rows)
    figure.update_xaxes(title_text="share (%)", range=[0, 1.18 * largest or 1.0])
    shown = {row.parameter: _name(row, inside) for row in rows if not row.members}
    shown |= {row.parameter: _name(row, inside) for row in rows if row.members}
    figure.update_yaxes(categoryorder="array", categoryarray=[shown[name] for name in order], ticks="")
    return figure


def _words(row: Importance, most: int) -> str:
    fewer = f"  ({row.trials:,} trial{'s' if row.trials != 1 else ''})" if row.trials < most else ""
    return f"{100 * row.share:.0f} %{fewer}"


def _name(row: Importance, inside: set[str]) -> str:
    if row.members:
        return f"<b>{label(row.parameter)}</b> (all layers)"
    return f"of which {label(row.parameter)}" if row.parameter in inside else label(row.parameter)
