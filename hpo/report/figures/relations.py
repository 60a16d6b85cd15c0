"""How results, times and sizes are related, and why trials failed."""

from __future__ import annotations

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
    rows = data.trials[data.trials["number"].isin([trial.number for trial in data.complete])]
    if len(rows) < PAIRS:
        raise NotDrawable(f"A correlation of fewer than {PAIRS} complete trials says nothing; there are {len(rows)}.")
    table = pandas.DataFrame(
        {label(name): rows[column] for name, column in zip(data.objectives, data.values, strict=True)}
        | {"training time (s)": rows["seconds"]}
    )
    if "parameters" in rows:
        table["parameter count"] = rows["parameters"]
    measures = len(table.columns)
    for parameter in data.varying():
        column = rows[f"params_{parameter.name}"]
        if parameter.numeric:
            table[label(parameter.name)] = column
        else:
            for choice in sorted({str(value) for value in column.dropna()})[:4]:
                table[label(f"{parameter.name} = {choice}")] = (column.astype(str) == choice).where(column.notna())
    table = table.astype("float64")
    table = table.loc[:, (table.nunique() > 1) & (table.notna().sum() >= PAIRS)]
    notes = [f"The {CELLS - measures} most important parameters are shown."] if len(table.columns) > CELLS else []
    table = table.iloc[:, :CELLS]
    if len(table.columns) < 2:
        raise NotDrawable("Nothing but one measure varies between complete trials.")
    matrix = table.corr(method="spearman", min_periods=PAIRS)
    names = list(matrix.columns)
    # Adding 0.0 turns the −0.00 of rounding into 0.00.
    cells = [
        [None if pandas.isna(value) else round(float(value), 2) + 0.0 for value in row] for row in matrix.to_numpy()
    ]
    if any(value is None for row in cells for value in row):
        notes.append(f"An empty cell: fewer than {PAIRS} complete trials have both, or one of them never changes.")
    figure = go.Figure(
        go.Heatmap(
            z=cells, x=names, y=names, zmin=-1, zmax=1, xgap=2, ygap=2,
            colorscale=[[0, "#b45309"], [0.25, "#fbbf77"], [0.5, "#f8fafc"], [0.75, "#7cc4ba"], [1, "#0f766e"]],
            text=[["" if value is None else f"{value:.2f}".replace("-", "−") for value in row] for row in cells],
            texttemplate="%{text}", textfont={"size": 11},
            colorbar=colour_bar("", tickvals=[-1, 0, 1]),
            hovertemplate="%{y} and %{x}: %{z}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(height=150 + 32 * len(names))
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(tickangle=-40, showgrid=False, ticks="")
    return Drawing([figure], notes, wide=True)


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
