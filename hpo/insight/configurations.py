"""With what settings? Those of the best beside the baseline's, and which of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from hpo.json_values import key_of
from hpo.results.best import eligible
from hpo.results.evaluation import ConfigurationRow
from hpo.results.reading import StudyView
from hpo.wording import grouped

__all__ = ["SettingRow", "Settled", "settings_of", "tied_with"]


@dataclass(frozen=True)
class SettingRow:
    """One parameter; a list where every layer has it. None where a configuration does not have it."""

    name: str
    best: Any
    baseline: Any
    changed: bool


@dataclass(frozen=True)
class Settled:
    """The configuration that the verdict is about, beside the baseline's.

    use:           which of the two won: "trial 66" or "baseline"; "" where nothing is known yet
    best:          its settings as a study's table has them; its trial is None where the search never tried it
    value:         its objective in the search, and baseline_value the baseline's
    tied:          other trials with the same objectives
    """

    use: str = ""
    trial: int | None = None
    value: float | None = None
    best: Mapping[str, Any] = field(default_factory=dict)
    baseline_trial: int | None = None
    baseline_value: float | None = None
    baseline: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[SettingRow, ...] = ()
    tied: tuple[int, ...] = ()


def settings_of(view: StudyView, best: FrozenTrial | None, baseline: FrozenTrial | None) -> Settled:
    """The settings of the evaluated best where there is one, else of the search's best trial, which is `best`."""
    theirs = grouped(baseline.params) if baseline is not None else {}
    evaluated = _evaluated_best(view)
    if evaluated is not None:
        number = evaluated["trial"]
        best = next((trial for trial in view.trials if trial.number == number), None)
        ours = grouped(best.params if best is not None else evaluated["params"])
    else:
        number = best.number if best is not None else None
        ours = grouped(best.params) if best is not None else {}
    value = best.values[0] if best is not None and best.values else None
    return Settled(
        use=_use(view, number, evaluated, baseline),
        trial=number,
        value=value,
        best=ours,
        baseline_trial=baseline.number if baseline is not None else None,
        baseline_value=baseline.values[0] if baseline is not None else None,
        baseline=theirs,
        rows=_rows(ours, theirs, compared=baseline is not None),
        tied=tied_with(view, best),
    )


def _evaluated_best(view: StudyView) -> ConfigurationRow | None:
    """What the evaluation's verdict compares with the baseline."""
    document = view.evaluation
    if document is None:
        return None
    name = document["verdict"].get("best", document["winner"])
    return next((row for row in document["configurations"] if row["name"] == name), None)


def _use(view: StudyView, number: int | None, evaluated: ConfigurationRow | None, baseline: FrozenTrial | None) -> str:
    document = view.evaluation
    if document is not None and evaluated is not None and document["winner"] is not None:
        won = next((row for row in document["configurations"] if row["name"] == document["winner"]), evaluated)
        return "baseline" if won["baseline"] else won["name"]
    if number is None:
        return ""
    return "baseline" if baseline is not None and baseline.number == number else f"trial {number}"


def _rows(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, compared: bool) -> tuple[SettingRow, ...]:
    names = list(dict.fromkeys((*ours, *theirs)))
    return tuple(
        SettingRow(
            name,
            ours.get(name),
            theirs.get(name),
            compared and (name not in ours or name not in theirs or key_of(ours[name]) != key_of(theirs[name])),
        )
        for name in names
    )


def tied_with(view: StudyView, best: FrozenTrial | None) -> tuple[int, ...]:
    """The numbers of the other trials with the same objective as `best`; none where there are several objectives."""
    if best is None or not best.values or len(view.directions) > 1:
        return ()
    same = (trial.number for trial in eligible(view.trials) if trial.values == best.values)
    return tuple(number for number in same if number != best.number)
