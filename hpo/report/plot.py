"""The parts of every plot in a report: figures with notes, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hpo.report.data import ReportData
from hpo.report.words import are

__all__ = ["BUG", "Drawing", "NotDrawable", "Plot", "PlotRow", "draw", "need_complete", "thin"]

Item = TypeVar("Item")

BUG = "This is a bug, please report it: "


class NotDrawable(Exception):
    """A plot that would be empty: the message says why, in words for the reader of the report."""


@dataclass(frozen=True)
class Drawing:
    """One figure, or several small ones side by side.

    notes: what was thinned or left out
    wide:  keeps its width on a phone and scrolls, because it would be unreadable if narrower
    key:   outcomes to explain above the figures, if these are too small for a legend each
    """

    figures: Sequence[Any]
    notes: Sequence[str] = ()
    wide: bool = False
    key: Sequence[str] = ()


@dataclass(frozen=True)
class PlotRow:
    """One row of the table of plots: its place, its title, what it shows, and how it is made.

    first: it shows only the first of several objectives, and says so
    part:  the heading of the report under which it stands; "appendix" is folded
    """

    key: str
    title: str
    about: str
    make: Callable[[ReportData], Drawing]
    first: bool = False
    part: str = "appendix"


@dataclass(frozen=True)
class Plot:
    """A section of the report. `missing` says why there are no figures; it is empty if there are some."""

    key: str
    title: str
    about: str
    drawing: Drawing
    missing: str = ""
    part: str = "appendix"


def draw(row: PlotRow, data: ReportData) -> Plot:
    """The plot of a row. If it cannot be drawn it says why; if it fails, the other plots are still drawn."""
    try:
        drawing = row.make(data)
        if row.first and len(data.objectives) > 1:
            drawing = replace(drawing, notes=[f"Of the first objective, {data.objectives[0]}.", *drawing.notes])
        return Plot(row.key, row.title, row.about, drawing, part=row.part)
    except NotDrawable as reason:
        missing = str(reason)
    except Exception as error:  # noqa: BLE001 - a bug in one plot (of hpo or Optuna) must not cost the whole report
        missing = f"{BUG}{type(error).__name__}: {error}"
    return Plot(row.key, row.title, row.about, Drawing(()), missing, row.part)


def need_complete(data: ReportData, least: int) -> None:
    """Raise NotDrawable if fewer than `least` trials are complete."""
    count = len(data.complete)
    if count < least:
        infinite = data.view.counts["complete"] - count
        aside = f", and {infinite} whose value is not finite" if infinite else ""
        raise NotDrawable(f"It needs {least} complete trials; there {are(count)}{aside}.")


def thin(items: Sequence[Item], limit: int, keep: Callable[[Item], bool] = lambda _: False) -> list[Item]:
    """At most about `limit` of the items, evenly spread and in order; those that `keep` names always stay."""
    if len(items) <= limit:
        return list(items)
    chosen = {index * len(items) // limit for index in range(limit)}
    return [item for index, item in enumerate(items) if index in chosen or keep(item)]
