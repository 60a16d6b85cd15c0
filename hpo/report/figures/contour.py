"""The objective as a surface over two parameters.

Optuna's contour interpolates between any two trials, however far apart, and over integers that take four values, so it
may paint its best shades where nothing was tried. Here a surface needs parameters with enough values; it is a mean of
nearby trials, so it is never better than the best of them, and it is left out where no trial is near.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from hpo.report.data import ReportData
from hpo.report.figures.marks import sampled_trials
from hpo.report.figures.shading import colour_range, scale, shade_bar
from hpo.report.plot import Drawing, NotDrawable, need_complete
from hpo.report.theme import axis
from hpo.results.parameter_ranges import ParameterRange

__all__ = ["DISTINCT", "REACH", "contour", "surface"]

DISTINCT = 8
"""Fewer different values than this are steps, not a scale."""

TRIALS = 10
REACH = 0.1
"""How far around a trial, as a share of each axis, its value says something."""

CELLS, NEIGHBOURS, BANDS, LISTED = 80, 6, 12, 8

Numbers = NDArray[np.float64]


def contour(data: ReportData) -> Drawing:
    need_complete(data, TRIALS)
    one, other, notes = _chosen(data)
    both = _with(data, one, other)
    drawn, thinned = sampled_trials(data, both)
    xs, ys = (_positions(each, drawn) for each in (one, other))
    values = np.array([trial.values[0] for trial in drawn])
    low, high = colour_range(data)
    ticks = np.linspace(low, high, 7)[1:-1].tolist()
    shades = {"colorscale": scale(data), "zmin": low, "zmax": high}
    grid = np.linspace(-0.02, 1.02, CELLS)
    painted = surface(_share(xs), _share(ys), np.clip(values, low, high), grid)
    figure = go.Figure(
        go.Contour(
            x=_back(grid, xs, one), y=_back(grid, ys, other), connectgaps=False, **shades,
            colorbar=shade_bar(data, tickvals=ticks, ticktext=[f"{tick:.4g}" for tick in ticks]),
            z=[[None if np.isnan(cell) else float(f"{cell:.5g}") for cell in row] for row in painted],
            contours={"start": low, "end": high, "size": (high - low) / BANDS or 1.0},
            line={"width": 0.5, "color": "#ffffff"}, hoverinfo="skip",
        )
    )  # fmt: skip
    figure.add_scatter(
        x=[trial.params[one.name] for trial in drawn], y=[trial.params[other.name] for trial in drawn],
        mode="markers", customdata=[[trial.number, trial.values[0]] for trial in drawn],
        marker={
            "color": values.tolist(), "colorscale": scale(data), "cmin": low, "cmax": high, "size": 8,
            "line": {"width": 1, "color": "#1e293b"},
        },
        hovertemplate="trial %{customdata[0]}: %{customdata[1]}<br>%{x}<br>%{y}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(**axis(one, [trial.params[one.name] for trial in drawn]), showgrid=False)
    figure.update_yaxes(**axis(other, [trial.params[other.name] for trial in drawn]), showgrid=False)
    figure.update_layout(height=460, showlegend=False)
    said = (
        "Dots are trials, shaded by their own value. The surface is the mean of trials near by, none counted worse "
        "than the palest shade; white is untried."
    )
    return Drawing([figure], [*thinned, said, *notes])


def surface(xs: Numbers, ys: Numbers, values: Numbers, grid: Numbers) -> Numbers:
    """Values over grid x grid [rows are y]: the inverse-distance mean of the nearest trials, NaN where none is near.

    xs, ys: the places of the trials, 0..1 along each axis
    """
    from scipy.spatial import cKDTree

    cells = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    count = min(NEIGHBOURS, len(values))
    distance, nearest = cKDTree(np.column_stack([xs, ys])).query(cells, k=count)
    distance, nearest = distance.reshape(-1, count), nearest.reshape(-1, count)
    weight = np.where(distance <= 2 * REACH, 1.0 / (distance + 0.01) ** 2, 0.0)
    near = distance[:, 0] <= REACH
    painted = np.full(len(cells), np.nan)
    painted[near] = (weight * values[nearest])[near].sum(axis=1) / weight[near].sum(axis=1)
    return painted.reshape(len(grid), len(grid))


def _chosen(data: ReportData) -> tuple[ParameterRange, ParameterRange, list[str]]:
    """The two most important parameters that can carry a surface, and why more important ones were passed over."""
    varying = data.varying()
    reasons = {one.name: reason for one in varying if (reason := _unfit(data, one))}
    fit = [one for one in varying if one.name not in reasons]
    pair = next((pair for pair in itertools.combinations(fit, 2) if len(_with(data, *pair)) >= TRIALS), None)
    if pair is None:
        listed = f" Not fit: {_listed(reasons)}." if reasons else ""
        raise NotDrawable(
            f"It needs two parameters that took at least {DISTINCT} values each in {TRIALS} complete trials that have "
            f"both.{listed}"
        )
    before = [one for one in varying[: varying.index(pair[1])] if one not in pair]
    passed = {
        one.name: reasons.get(one.name) or f"fewer than {TRIALS} trials have it beside the other" for one in before
    }
    notes = (
        [f"Passed over, though ranked higher: {_listed(passed)}. Nothing lies between few values."] if passed else []
    )
    return pair[0], pair[1], notes


def _unfit(data: ReportData, one: ParameterRange) -> str:
    if not one.numeric:
        return "categories"
    values = [trial.params[one.name] for trial in data.complete if one.name in trial.params]
    if len(set(values)) < DISTINCT:
        return f"{len(set(values))} value{'s' if len(set(values)) != 1 else ''}"
    return "" if len(values) >= TRIALS else f"{len(values)} complete trials"


def _listed(reasons: dict[str, str]) -> str:
    shown = [f"{name} ({reason})" for name, reason in list(reasons.items())[:LISTED]]
    return ", ".join(shown) + (f" and {len(reasons) - LISTED} more" if len(reasons) > LISTED else "")


def _with(data: ReportData, one: ParameterRange, other: ParameterRange) -> list[FrozenTrial]:
    return [trial for trial in data.complete if one.name in trial.params and other.name in trial.params]


def _positions(one: ParameterRange, trials: Sequence[FrozenTrial]) -> Numbers:
    values = np.array([float(trial.params[one.name]) for trial in trials])
    return np.log(values) if one.log else values


def _share(positions: Numbers) -> Numbers:
    span = np.ptp(positions) or 1.0
    return np.asarray((positions - positions.min()) / span, dtype=np.float64)


def _back(grid: Numbers, positions: Numbers, one: ParameterRange) -> list[Any]:
    places = positions.min() + grid * (np.ptp(positions) or 1.0)
    return [float(f"{place:.6g}") for place in (np.exp(places) if one.log else places)]
