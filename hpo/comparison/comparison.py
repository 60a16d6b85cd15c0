"""`StudyComparison`: studies side by side at one moment, and the JSON of it (docs/compare.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpo.comparison.contender import Contender, check_comparable, contender_of
from hpo.comparison.verdict import ComparisonVerdict, judge
from hpo.insight.mattered import Matter
from hpo.json_values import as_json, key_of
from hpo.results.reading import StudyView

__all__ = ["SCHEMA", "ComparedSetting", "MatterAcross", "StudyComparison", "compare_studies"]

SCHEMA = 1


@dataclass(frozen=True)
class ComparedSetting:
    """One parameter in each study, in their order; None where a study's winner does not have it."""

    name: str
    values: tuple[Any, ...]
    differs: bool


@dataclass(frozen=True)
class MatterAcross:
    """What each study, in their order, says of one parameter; None where it says nothing."""

    name: str
    found: tuple[Matter | None, ...]


@dataclass(frozen=True)
class StudyComparison:
    """Two studies or more that optimise one number, in the order in which they were named."""

    contenders: tuple[Contender, ...]
    verdict: ComparisonVerdict

    @property
    def metric(self) -> str:
        """The objective's name; that of a study which has one, where others left theirs unnamed."""
        named = [one.metric for one in self.contenders if one.metric != "value"]
        return named[0] if named else "value"

    @property
    def direction(self) -> str:
        return self.contenders[0].view.directions[0]

    @property
    def settings(self) -> tuple[ComparedSetting, ...]:
        """Of the winners that the verdict is about, those that differ first."""
        measured = self.verdict.basis == "evaluation"
        theirs = [one.settings(measured=measured) for one in self.contenders]
        rows = []
        for name in dict.fromkeys(name for one in theirs for name in one):
            keys = {key_of(one[name]) if name in one else None for one in theirs}
            rows.append(ComparedSetting(name, tuple(one.get(name) for one in theirs), len(keys) > 1))
        return tuple(sorted(rows, key=lambda row: not row.differs))

    @property
    def mattered(self) -> tuple[MatterAcross, ...]:
        """Every parameter that some study ranks, those with the largest share anywhere first."""
        theirs = [{found.name: found for found in one.insight.mattered.parameters} for one in self.contenders]
        names = dict.fromkeys(name for one in theirs for name in one)
        rows = [MatterAcross(name, tuple(one.get(name) for one in theirs)) for name in names]
        return tuple(sorted(rows, key=lambda row: -max(one.share for one in row.found if one is not None)))

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What would make the answer surer; none where it is sure."""
        if self.verdict.basis != "search":
            return ()
        lacking = [one.name for one in self.contenders if one.measured is None and one.view.trained_here]
        return tuple(f"`hpo evaluate --study {name}` measures its best with fresh seeds" for name in lacking)

    def document(self) -> dict[str, Any]:
        """As JSON holds it; docs/compare.md has each key."""
        made: dict[str, Any] = as_json(
            {
                "schema": SCHEMA,
                "metric": self.metric,
                "direction": self.direction,
                "verdict": asdict(self.verdict),
                "studies": [_study(one) for one in self.contenders],
                "settings": [asdict(row) for row in self.settings],
                "mattered": [
                    {
                        "name": row.name,
                        "found": [{**asdict(one), "text": one.text} if one is not None else None for one in row.found],
                    }
                    for row in self.mattered
                ],
                "next": list(self.next_steps),
            }
        )
        return made


def compare_studies(views: Sequence[StudyView]) -> StudyComparison:
    """These studies side by side. Raises UsageError where they cannot be compared, and says which and why."""
    check_comparable(views)
    contenders = tuple(contender_of(view) for view in views)
    return StudyComparison(contenders, judge(contenders))


def _study(one: Contender) -> dict[str, Any]:
    answers, best, measured = one.insight.document(), one.view.best, one.measured
    return {
        "study": one.name,
        "metric": one.metric,
        "counts": one.view.counts,
        "best": {"trial": best.number, "value": best.values[0]} if best is not None else None,
        "evaluated": None
        if measured is None
        else {
            "name": measured.name,
            "trial": measured.trial,
            "metric": measured.measure[0],
            "dataset": measured.measure[2],
            **{key: measured.score[key] for key in ("mean", "low", "high", "n")},
        },
        **{key: answers[key] for key in ("verdict", "settings", "mattered", "pruning", "cost", "pace")},
    }
