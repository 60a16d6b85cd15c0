"""How results, times and sizes are related, and why trials failed."""

from __future__ import annotations

from typing import Any

import pandas
import plotly.graph_objects as go

from hpo.report.data import ReportData
from hpo.report.figures.marks import finite_rows, marks, sampled
from hpo.report.plot import Drawing, NotDrawable
from hpo.report.theme import COLOURS, colour_bar, label, log_axis, robust_range

__all__ = ["correlation", "failures", "size"]

CELLS = 18
REASONS = 15
PAIRS = 5


def correlation(data: ReportData) -> Drawing:
    """What was measured (down) against what was chosen (across): two parameters go together as the sampler chose."""
    rows = data.trials[data.trials["number"].isin([trial.number for trial in data.complete])]
    if len(rows) < PAIRS:
        raise NotDrawable(f"A correlation of fewer than {PAIRS} complete trials says nothing; there are {len(rows)}.")
    measures = {label(name): rows[column] for name, column in zip(data.objectives, data.values, strict=True)}
    measures["training time (s)"] = rows["seconds"]
    if "parameters" in rows:
        measures["parameter count"] = rows["parameters"]
    down, across = _varying(measures), _varying(_chosen(data, rows))
    if down.empty or across.empty:
        raise NotDrawable("No parameter varies between complete trials, or nothing that was measured.")
    notes = [f"The {CELLS} most important parameters are shown."] if len(across.columns) > CELLS else []
    across = across.iloc[:, :CELLS]
    matrix = pandas.DataFrame(
        {name: [_rank_correlation(across[name], down[measure]) for measure in down.columns] for name in across.columns}
    )
    names, measured = list(across.columns), list(down.columns)
    # Adding 0.0 turns the −0.00 of rounding into 0.00.
    cells = [
        [None if pandas.isna(value) else round(float(value), 2) + 0.0 for value in row] for row in matrix.to_numpy()
    ]
    if any(value is None for row in cells for value in row):
        notes.append(f"An empty cell: fewer than {PAIRS} complete trials have both, or one of them never changes.")
    figure = go.Figure(
        go.Heatmap(
            z=cells, x=names, y=measured, zmin=-1, zmax=1, xgap=2, ygap=2,
            colorscale=[[0, "#b45309"], [0.25, "#fbbf77"], [0.5, "#f8fafc"], [0.75, "#7cc4ba"], [1, "#0f766e"]],
            text=[["" if value is None else f"{value:.2f}".replace("-", "−") for value in row] for row in cells],
            texttemplate="%{text}", textfont={"size": 11},
            colorbar=colour_bar("", tickvals=[-1, 0, 1]),
            hovertemplate="%{y} and %{x}: %{z}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(height=150 + 32 * len(measured))
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(tickangle=-40, showgrid=False, ticks="")
    return Drawing([figure], notes, wide=True)


def _chosen(data: ReportData, rows: pandas.DataFrame) -> dict[str, pandas.Series[Any]]:
    """The parameters as numbers: a choice of two is one column, since the other would only mirror it."""
    found = {}
    for parameter in data.varying():
        column = rows[f"params_{parameter.name}"]
        if parameter.numeric:
            found[label(parameter.name)] = column
            continue
        choices = sorted({str(value) for value in column.dropna()})[:4]
        for choice in choices[: 1 if len(choices) == 2 else None]:
            found[label(f"{parameter.name} = {choice}")] = (column.astype(str) == choice).where(column.notna())
    return found


def _varying(columns: dict[str, pandas.Series[Any]]) -> pandas.DataFrame:
    table = pandas.DataFrame(columns).astype("float64")
    return table.loc[:, (table.nunique() > 1) & (table.notna().sum() >= PAIRS)]


def _rank_correlation(one: pandas.Series[Any], other: pandas.Series[Any]) -> float:
    """Spearman's, of the trials that have both; NaN where these are too few or all alike."""
    return float(pandas.DataFrame({"one": one, "other": other}).corr("spearman", min_periods=PAIRS).iloc[0, 1])


def size(data: ReportData) -> Drawing:
    if "parameters" not in data.trials:
        raise NotDrawable('No trial recorded how many parameters its model has (user attribute "parameters").')
    rows = finite_rows(data.trials, "parameters", data.values[0])
    rows = rows[rows["state"].isin(("complete", "pruned")) & (rows["parameters"] > 0)]
    if rows.empty:
        raise NotDrawable("No trial has both a value and a parameter count.")
    drawn, notes = sampled(data, rows)
    figure = go.Figure(marks(data, drawn, "parameters", data.values[0]))
    counts = rows["parameters"]
    figure.update_xaxes(
        title_text="parameters of the model (count)", **log_axis(float(counts.min()), float(counts.max()))
    )
    figure.update_yaxes(title_text=label(data.objectives[0]))
    shown = robust_range(list(rows[data.values[0]]))
    if shown is not None:
        figure.update_yaxes(range=list(shown))
        outside = int((~rows[data.values[0]].between(*shown)).sum())
        notes.append(
            f"{outside:,} of {len(rows):,} trials lie outside the range shown; double-click the plot to see all."
        )
    return Drawing([figure], notes)


def failures(data: ReportData) -> Drawing:
    if not data.failures:
        raise NotDrawable("No trial failed, diverged or ran out of memory.")
    shown = data.failures[:REASONS]
    names = [f"{index + 1}. {label(failure.kind)}: {label(failure.reason, 44)}" for index, failure in enumerate(shown)]
    counts = [len(failure.trials) for failure in shown]
    figure = go.Figure(
        go.Bar(
            x=counts, y=names, orientation="h", text=[f"{count:,}" for count in counts], textposition="outside",
            marker={"color": COLOURS["failed"]}, cliponaxis=False, hovertemplate="%{y}: %{x} trials<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(height=110 + 34 * len(shown))
    figure.update_xaxes(title_text="trials", rangemode="tozero", range=[0, 1.15 * max(counts)], tickformat=",d")
    figure.update_yaxes(autorange="reversed", ticks="")
    more = len(data.failures) - len(shown)
    return Drawing([figure], [f"{more:,} more reasons are in report.json."] if more else [])
