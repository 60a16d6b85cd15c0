"""How every plot looks: one plotly template, one colour and symbol for each outcome, axes made for their parameter."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from hpo.results.parameter_ranges import ParameterRange

__all__ = [
    "ACCENT",
    "COLOURS",
    "FAINT",
    "OPACITY",
    "SCALE",
    "SECOND",
    "SYMBOLS",
    "TEMPLATE",
    "axis",
    "colour_bar",
    "label",
    "log_axis",
    "log_ticks",
    "robust_range",
]

INK, MUTED, GRID, ACCENT, SECOND = "#1e293b", "#64748b", "#e2e8f0", "#1d4ed8", "#7c3aed"

COLOURS = {
    "complete": "#0f766e",
    "pruned": "#b45309",
    "failed": "#be123c",
    "running": "#0369a1",
    "waiting": "#64748b",
    "best": "#1d4ed8",
    "front": "#1d4ed8",
    "baseline": "#475569",
}
"""People who cannot see red or green can tell them apart: they differ in lightness, and each has its own symbol. As
marks have them (OPACITY), all stand out from the page with a contrast of at least 3, in dark mode too."""

SYMBOLS = {
    "complete": "circle",
    "pruned": "circle-open",
    "failed": "x",
    "running": "triangle-up",
    "waiting": "square-open",
    "best": "star",
    "front": "star",
    "baseline": "diamond",
}

FAINT = 0.75
"""Opacity of pruned trials drawn as lines, which are thin: visible, but in the background."""

OPACITY = dict.fromkeys(COLOURS, 0.8) | {"waiting": 0.9, "best": 1.0, "front": 1.0, "baseline": 1.0}
"""Opacity of marks, also of those in a key."""

SCALE: list[list[Any]] = [[0.0, "#dbe4ec"], [0.25, "#bfe3dd"], [0.5, "#5eb8ac"], [0.75, "#0f766e"], [1.0, "#083f3b"]]
"""From worst to best; even the worst stands out from white, which means nothing is there."""

_AXIS = {
    "gridcolor": GRID,
    "linecolor": "#cbd5e1",
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": "#cbd5e1",
    "ticklen": 4,
    "automargin": True,
    "title": {"standoff": 10, "font": {"size": 12.5, "color": MUTED}},
    "tickfont": {"size": 11.5, "color": MUTED},
    "exponentformat": "power",
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "colorway": [COLOURS["complete"], COLOURS["pruned"], ACCENT, SECOND, COLOURS["failed"], MUTED],
        "margin": {"l": 56, "r": 16, "t": 36, "b": 48},
        "height": 380,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#cbd5e1", "font": {"color": INK, "size": 12}},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "yanchor": "bottom",
            "font": {"size": 12},
            "title": {"text": ""},
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "bargap": 0.35,
        "colorscale": {"sequential": SCALE},
    }
)


def label(text: object, limit: int = 48) -> str:
    """Text for a plot. Plotly reads tags in every string it draws, so a `<` in a name is escaped."""
    words = str(text)
    shown = words if len(words) <= limit else words[: limit - 1] + "…"
    return html.escape(shown, quote=False)


def axis(parameter: ParameterRange, values: Sequence[Any] = ()) -> dict[str, Any]:
    """The axis of a parameter: logarithmic if its space is, its categories always in the same order."""
    shown: dict[str, Any] = {"title": {"text": label(parameter.name)}}
    if not parameter.numeric:
        return shown | {"type": "category", "categoryorder": "array", "categoryarray": sorted(set(values))}
    if parameter.log and values:
        return shown | log_axis(min(values), max(values))
    whole = values and all(float(value).is_integer() for value in values) and max(values) - min(values) <= 6
    return shown | ({"dtick": 1} if whole else {})


def log_axis(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis over low .. high, with a few round ticks written as people write them."""
    ticks = log_ticks(low, high)
    return {"type": "log", "tickmode": "array", "tickvals": ticks, "ticktext": _tick_words(ticks)}


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, or the 1-3 or the 1-2-5 series where there would be fewer than three ticks."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) >= 3:
            break
    return ticks or [low]


def _tick_words(ticks: list[float]) -> list[str]:
    """All as plain numbers (20k, 5M), or all as powers of ten: a mix is hard to compare."""
    if all(1e-3 <= tick < 1e9 for tick in ticks):
        return [
            f"{tick / 1e6:g}M" if tick >= 1e6 else f"{tick / 1e3:g}k" if tick >= 1e4 else f"{tick:g}" for tick in ticks
        ]
    words = []
    for tick in ticks:
        power = math.floor(math.log10(tick) + 1e-9)
        factor = round(tick / 10.0**power)
        words.append(f"{'' if factor == 1 else f'{factor}·'}10<sup>{str(power).replace('-', '−')}</sup>")
    return words


def robust_range(values: Sequence[float]) -> tuple[float, float] | None:
    """A range that shows most of `values` when a few far ones would press the rest flat; None when all fit."""
    finite = sorted(value for value in values if math.isfinite(value))
    if len(finite) < 8:
        return None
    low, middle, high = (finite[round(share * (len(finite) - 1))] for share in (0.1, 0.5, 0.9))
    reach = 3.0 * max(high - low, abs(middle) * 1e-6)
    body = [value for value in finite if low - reach <= value <= high + reach]
    if len(body) == len(finite):
        return None
    margin = 0.06 * (body[-1] - body[0]) or 1.0
    return body[0] - margin, body[-1] + margin


def colour_bar(title: str, **more: Any) -> dict[str, Any]:
    """The bar beside a plot that explains its shades."""
    small = {"size": 12, "color": MUTED}
    return {
        "title": {"text": title, "font": small},
        "tickfont": small,
        "thickness": 12,
        "outlinewidth": 0,
        "len": 0.9,
    } | more
