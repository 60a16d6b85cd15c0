"""`Insight`: the answers about one study at one moment, and the JSON of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hpo.insight.advice import NextStep, advise
from hpo.insight.configurations import Settled, settings_of
from hpo.insight.cost import Cost, Pace, cost_of, pace_of
from hpo.insight.mattered import Mattered, mattered_in
from hpo.insight.saving import Saving, pruning_saving
from hpo.insight.verdict import StudyVerdict, answer_of, baseline_of
from hpo.json_values import as_json
from hpo.results.reading import StudyView

__all__ = ["Insight", "insight_of"]


@dataclass(frozen=True)
class Insight:
    """What a study found. Each part stands alone: one that nothing is known about says so."""

    verdict: StudyVerdict
    settings: Settled
    mattered: Mattered
    pruning: Saving | None
    cost: Cost
    pace: Pace
    steps: tuple[NextStep, ...]

    def document(self) -> dict[str, Any]:
        """As JSON holds it; docs/insight.md has each key."""
        pace = self.pace
        gain = asdict(pace.last_gain) if pace.last_gain is not None else None
        if gain is not None:
            # Optuna's times are naive and local; with their offset they mean the same everywhere.
            ended = gain["ended"]
            gain["ended"] = ended.astimezone().isoformat() if ended is not None else None
        made: dict[str, Any] = as_json(
            {
                "verdict": asdict(self.verdict),
                "settings": asdict(self.settings),
                "mattered": {
                    **asdict(self.mattered),
                    "parameters": [{**asdict(one), "text": one.text} for one in self.mattered.parameters],
                    "edges": [{**asdict(one), "text": one.text} for one in self.mattered.edges],
                },
                "pruning": asdict(self.pruning) if self.pruning is not None else None,
                "cost": {"seconds": dict(self.cost.seconds), "text": self.cost.text},
                "pace": {name: value for name, value in {**asdict(pace), "last_gain": gain}.items() if name != "gains"},
                "next": [asdict(step) for step in self.steps],
            }
        )
        return made


def insight_of(view: StudyView) -> Insight:
    """The answers about a study, ours or plain Optuna's."""
    best, baseline = view.best, baseline_of(view.trials)
    answer, settled = answer_of(view, best, baseline), settings_of(view, best, baseline)
    mattered, pace = mattered_in(view), pace_of(view)
    return Insight(
        verdict=answer,
        settings=settled,
        mattered=mattered,
        pruning=pruning_saving(view),
        cost=cost_of(view.trials),
        pace=pace,
        steps=advise(view, answer, settled, mattered, pace),
    )
