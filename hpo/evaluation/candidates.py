"""Which configurations to evaluate: the best of the search, the baseline, and on request the known ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from hpo.errors import StudyError
from hpo.results.best import ranked
from hpo.sampling.intake import Intake
from hpo.storage.trial_record import record_of
from hpo.study.length import epochs_of
from hpo.study.study import Study

if TYPE_CHECKING:
    from hpo.results.reading import StudyView

__all__ = ["Candidate", "choose"]


@dataclass(frozen=True)
class Candidate:
    """One configuration to be retrained.

    name:         "trial 12", "baseline" or "known 1", as tables show it
    rank:         among the best of the search, from 1; None for a baseline or known one that is not among them
    trial:        its trial in the search; None when it never finished there
    config:       resolved, as trainers read it; params: as Optuna stores them
    epochs:       how many to train; epochs_from says why: "best epoch of trial 12"
    search_score: the result of that trial in the search: validation accuracy, or what its own function reports
    """

    name: str
    config: Mapping[str, Any]
    params: Mapping[str, Any]
    trial: int | None = None
    rank: int | None = None
    baseline: bool = False
    epochs: int = 0
    epochs_from: str = ""
    search_score: float | None = None
    trial_seed: int | None = None

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits of the configuration."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:12]


def choose(study: Study, view: StudyView, *, top: int, known: bool) -> list[Candidate]:
    """The `top` best distinct configurations besides the baseline, best first, the baseline, the study's known ones.

    A configuration that is several of these appears once. Raises StudyError if the study has no eligible trial.
    """
    trials = _trainable(study, view.trials)
    best = ranked(trials, view.directions)
    if not best:
        raise StudyError(
            f'study "{view.name}" has no finished trial to evaluate',
            evidence=[
                "a trial counts when it is complete and finite, fits the study's rows, and keeps every constraint"
            ],
            next=f"`hpo run --study {view.name}` continues the search",
        )
    baseline = _given(study, trials, study.baseline, "baseline")
    found: dict[str, Candidate] = {}
    for trial in best:
        candidate = _of_trial(study, trial)
        if len(found) - (baseline.key in found) < top and candidate.key not in found:
            found[candidate.key] = replace(candidate, rank=len(found) + 1)
    _add(found, baseline)
    for index, config in enumerate(study.known if known else ()):
        _add(found, _given(study, trials, config, f"known {index + 1}"))
    return _with_epochs(study, list(found.values()))


def _trainable(study: Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that can be trained again. Plain Optuna may have added some with parameters that the study lacks."""
    intake = Intake(study.rows)

    def says(trial: FrozenTrial) -> bool:
        try:
            return "config" in record_of(trial) or bool(study.rows.configuration(trial.params))
        except KeyError:  # a row without a value
            return False

    return [trial for trial in trials if not intake.refusal(trial) and says(trial)]


def _add(found: dict[str, Candidate], given: Candidate) -> None:
    """Add a configuration given by hand; one that is already there keeps its rank and gets the name too."""
    before = found.get(given.key)
    if before is None:
        found[given.key] = given if given.trial is None else replace(given, name=f"{given.name} (trial {given.trial})")
    else:
        name = f"{before.name} ({given.name})"
        found[given.key] = replace(before, name=name, baseline=before.baseline or given.baseline)


def _of_trial(study: Study, trial: FrozenTrial) -> Candidate:
    record = record_of(trial)
    config = record.get("config") or study.resolve(study.rows.configuration(trial.params))
    metrics = record.get("metrics", {})
    # Whoever can write to the database may have put any number there, and an evaluation would train for as long.
    best_epoch = min(max(0, record.get("best_epoch", 0)), epochs_of(study, config) * (study.folds or 1))
    return Candidate(
        name=f"trial {trial.number}",
        config=config,
        params=dict(trial.params),
        trial=trial.number,
        epochs=best_epoch,
        epochs_from=f"best epoch of trial {trial.number}" if best_epoch else "",
        search_score=metrics.get(study.judged_by),
        trial_seed=record.get("seed"),
    )


def _given(study: Study, trials: Sequence[FrozenTrial], config: Mapping[str, Any], name: str) -> Candidate:
    """A configuration given by hand, with the trial of exactly these values if the search finished one."""
    params = study.rows.parameters(config, what=name, complete=False)
    baseline = name == "baseline"
    for trial in trials:
        if trial.state == TrialState.COMPLETE and all(trial.params.get(key) == value for key, value in params.items()):
            return replace(_of_trial(study, trial), name=name, baseline=baseline)
    try:
        full = study.rows.configuration(params)
    except KeyError as missing:
        raise StudyError(
            f"{name} has no value for {missing}, and no trial with it has finished",
            next="run the search with --enqueue-known first, or complete it in the study",
        ) from None
    return Candidate(name=name, config=study.resolve(full), params=params, baseline=baseline)


def _with_epochs(study: Study, candidates: list[Candidate]) -> list[Candidate]:
    """Candidates that never finished in the search train as long as their row of epochs says, to the end of their
    schedule; without such a row for the median best epoch of the others."""
    known = [candidate.epochs for candidate in candidates if candidate.epochs]
    epochs = round(median(known)) if known else study.epochs
    why = "median best epoch of the others" if known else "epochs of the study"
    found = []
    for candidate in candidates:
        if candidate.epochs:
            found.append(candidate)
        elif "epochs" in study.rows.rows and candidate.config.get("epochs"):
            found.append(replace(candidate, epochs=epochs_of(study, candidate.config), epochs_from="its row of epochs"))
        else:
            found.append(replace(candidate, epochs=epochs, epochs_from=why))
    return found
