"""One study among others: what it would be judged by, and whether it can be judged beside them at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.errors import UsageError
from hpo.insight import Insight, insight_of
from hpo.printable import one_line
from hpo.results.evaluation import ConfigurationRow, MeanRow, score_of
from hpo.results.reading import StudyView
from hpo.wording import grouped

__all__ = ["Contender", "FreshRuns", "check_comparable", "contender_of"]

MOST = 12
"""Studies side by side; more nobody can read."""

UNNAMED = "value"
"""What an objective is called that nobody named: it may be any metric."""


@dataclass(frozen=True)
class FreshRuns:
    """What fresh runs of a study's winner came to: hpo.results.evaluation has its parts.

    measure:      what was measured on what: (metric, direction, data set, test images)
    chosen_among: how many configurations the winner is the best of, by these same runs
    """

    name: str
    trial: int | None
    params: Mapping[str, Any]
    score: MeanRow
    measure: tuple[str, str, str, int | None]
    chosen_among: int


@dataclass(frozen=True)
class Contender:
    """A study, its answers, and its evaluated winner where `hpo evaluate` has run. metric: of its objective."""

    view: StudyView
    insight: Insight
    measured: FreshRuns | None

    @property
    def name(self) -> str:
        return self.view.name

    @property
    def metric(self) -> str:
        return self.view.objectives[0]

    def settings(self, *, measured: bool) -> dict[str, Any]:
        """Of the evaluated winner, or of the search's best; a list where each layer has a value."""
        if measured and self.measured is not None:
            return grouped(self.measured.params)
        best = self.view.best
        return grouped(best.params) if best is not None else {}


def contender_of(view: StudyView) -> Contender:
    """The study as it stands."""
    return Contender(view, insight_of(view), _measured(view))


def check_comparable(views: Sequence[StudyView]) -> None:
    """Raise UsageError unless these are two or more different studies that optimise one and the same number."""
    names = [one_line(view.name) for view in views]
    if len(views) < 2:
        raise UsageError(
            f"{names[0]} alone can be compared with nothing" if names else "no study to compare",
            next="name two studies or more; `hpo status` lists those of the database",
        )
    if len(views) > MOST:
        raise UsageError(f"{len(views)} studies are too many to compare at once", next=f"name at most {MOST}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice", next="name each study once")
    several = [view for view in views if len(view.directions) > 1]
    if several:
        raise UsageError(
            "studies of several objectives cannot be put in one order",
            evidence=[_goal(view) for view in several],
            next=f"`hpo report --study {one_line(several[0].name)}` draws its Pareto front",
        )
    named = {view.objectives[0] for view in views} - {UNNAMED}
    if len(named) > 1 or len({view.directions for view in views}) > 1:
        raise UsageError(
            "these studies optimise different numbers, which say nothing about each other",
            evidence=[_goal(view) for view in views],
            next="name studies of one metric and one direction",
        )


def _goal(view: StudyView) -> str:
    goals = ", ".join(f"{way} {name}" for way, name in zip(view.directions, view.objectives, strict=True))
    return one_line(f"{view.name}: {goals}")


def _measured(view: StudyView) -> FreshRuns | None:
    document = view.evaluation
    row = _winner(document["configurations"], document["winner"]) if document is not None else None
    score = score_of(row) if row is not None else None
    if document is None or row is None or score is None:
        return None
    measure = (
        document.get("metric", "test_accuracy"),
        document.get("direction", "maximize"),
        document["dataset"],
        document["test_images"],
    )
    complete = sum(score_of(one) is not None for one in document["configurations"])
    return FreshRuns(row["name"], row["trial"], row["params"], score, measure, complete)


def _winner(rows: Sequence[ConfigurationRow], name: str | None) -> ConfigurationRow | None:
    return next((row for row in rows if row["name"] == name), None)
