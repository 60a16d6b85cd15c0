"""What mattered, drawn small: for each parameter a strip with every complete trial where its value lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hpo.insight.mattered import Matter
from hpo.insight.series import Series, series_of
from hpo.report.data import ReportData
from hpo.report.plot import thin
from hpo.report.theme import COLOURS
from hpo.wording import value_text

__all__ = ["MatterRow", "matter_rows"]

WIDTH, HEIGHT, EDGE = 220, 34, 6
MOST = 240
"""Dots in a strip; more run into each other."""


@dataclass(frozen=True)
class MatterRow:
    """One parameter of the table: what is known of it, its range, its strip, and the end at which its best lie."""

    matter: Matter
    low: str
    high: str
    strip: Markup
    edge: str


def matter_rows(data: ReportData) -> list[MatterRow]:
    """The parameters, the most important first; none where nothing can be said."""
    series = {one.name: one for one in series_of(data.view.trials)}
    edges = {edge.name: edge.text for edge in data.insight.mattered.edges}
    return [
        _row(matter, series[matter.name], data, edges.get(matter.name, ""))
        for matter in data.insight.mattered.parameters
        if matter.name in series
    ]


def _row(matter: Matter, one: Series, data: ReportData, edge: str) -> MatterRow:
    if not one.numeric:
        return MatterRow(matter, "", "", _categories(one, data), edge)
    low, high = (value_text(int(end) if one.whole else end) for end in (one.low, one.high))
    return MatterRow(matter, low, high, _numbers(one, data), edge)


def _numbers(one: Series, data: ReportData) -> Markup:
    """Place by value, height by rank: the best on top and dark."""
    trials = [trial for trial in data.complete if trial.number in one.values]
    sign = 1 if data.view.directions[0] == "maximize" else -1
    order = sorted(trials, key=lambda trial: sign * trial.values[0])
    best = {trial.number for trial in order[-max(1, len(order) // 10) :]}
    places = {trial.number: index / max(1, len(order) - 1) for index, trial in enumerate(order)}
    drawn = thin(order, MOST, lambda trial: trial.number in best)
    dots = [
        _dot(
            EDGE + one.place(one.values[trial.number]) * (WIDTH - 2 * EDGE),
            HEIGHT - 4 - places[trial.number] * (HEIGHT - 8),
            best=trial.number in best,
        )
        for trial in drawn
    ]
    line = f'<path d="M{EDGE} {HEIGHT - 1}H{WIDTH - EDGE}" stroke="currentColor" opacity=".5"/>'
    return _svg([line, *dots])


def _categories(one: Series, data: ReportData) -> Markup:
    """A bar for each category: its share of the best tenth of the complete trials."""
    sign = 1 if data.view.directions[0] == "maximize" else -1
    order = sorted(
        (trial for trial in data.complete if trial.number in one.values), key=lambda trial: -sign * trial.values[0]
    )
    best = [one.values[trial.number] for trial in order[: max(5, len(order) // 10)]]
    names = sorted(set(one.values.values()), key=lambda name: (-best.count(name), name))[:3]
    tall = HEIGHT / max(1, len(names))
    bars = []
    for index, name in enumerate(names):
        wide = (WIDTH - 90) * best.count(name) / max(1, len(best))
        y = index * tall
        bars.append(f'<rect x="84" y="{y + 1:.1f}" width="{max(1.0, wide):.1f}" height="{tall - 2:.1f}" '
                    f'fill="{COLOURS["best"]}"/>')  # fmt: skip
        shown = Markup.escape(name if len(name) <= 11 else f"{name[:10]}…")
        bars.append(f'<text x="78" y="{y + tall / 2 + 4:.1f}" text-anchor="end" font-size="11" fill="currentColor">'
                    f"{shown}</text>")  # fmt: skip
    return _svg(bars)


def _dot(x: float, y: float, *, best: bool) -> str:
    if best:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS["best"]}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{COLOURS["waiting"]}" opacity=".85"/>'


def _svg(parts: Sequence[str]) -> Markup:
    """The row says in words what it shows."""
    return Markup(  # of our own numbers and of escaped text
        f'<svg class="strip" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'
    )
