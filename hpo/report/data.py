"""`ReportData`: everything a report says, computed once. The page, the CSV files and report.json only print it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pandas
from optuna.trial import FrozenTrial, TrialState

from hpo.insight import Insight, insight_of
from hpo.insight.saving import Saving
from hpo.report.data_frames import curve_column, curves_frame, trials_frame, value_columns
from hpo.report.importance import Importances, find_importances
from hpo.report.plain_choices import with_plain_choices
from hpo.results.best import pareto_front, ranked
from hpo.results.evaluation import ConfigurationRow, EvaluationDocument
from hpo.results.parameter_ranges import ParameterRange, find_parameters
from hpo.results.reading import StudyView
from hpo.storage.optuna_schema import FINISHED, count_finished
from hpo.storage.trial_record import record_of

__all__ = ["BaselineGain", "Failure", "ReportData", "build_report"]


@dataclass(frozen=True)
class BaselineGain:
    """The best trial and the baseline by the first objective; `gain` is above 0 if the best is better."""

    best: float
    baseline: float
    gain: float


@dataclass(frozen=True)
class Failure:
    """Trials that ended for one reason. `traceback`: the last lines of the first such trial."""

    kind: str
    reason: str
    trials: tuple[int, ...]
    traceback: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """One study at one moment.

    complete:   trials with finite values, on which importances and landscapes rest
    best:       the best trials, best first; with several objectives the Pareto front
    trials:     trials.csv, see hpo.report.data_frames; curves: curves.csv
    insight:    the answers that every other surface shows, too
    given:      by number, the original parameters of trials whose choices are shown as text
    """

    view: StudyView
    made_at: datetime
    parameters: tuple[ParameterRange, ...]
    complete: tuple[FrozenTrial, ...]
    best: tuple[FrozenTrial, ...]
    baseline: FrozenTrial | None
    trials: pandas.DataFrame
    curves: pandas.DataFrame
    importances: Importances
    failures: tuple[Failure, ...]
    insight: Insight
    given: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.view.objectives

    @property
    def values(self) -> list[str]:
        """The columns of `trials` that hold the objectives."""
        return value_columns(self.view)

    @property
    def finished(self) -> int:
        return count_finished(self.view.counts)

    @property
    def step_name(self) -> str:
        return "epoch" if "epoch" in self.curves else "step"

    @property
    def own_metrics(self) -> list[str]:
        """The columns of `curves` that hold metrics of the user's own, in the order of their first report."""
        return list(dict.fromkeys(curve_column(name) for row in self.view.epochs for name in row["metrics"]))

    @property
    def own_records(self) -> bool:
        """Whether trainers of hpo recorded what training took, apart from setting up."""
        return "train_seconds" in self.trials

    @property
    def train_seconds(self) -> float:
        """Seconds all finished trials took together."""
        done = self.trials["state"].isin(FINISHED)
        return float(self.trials.loc[done, "seconds"].sum()) if len(self.trials) else 0.0

    @property
    def comparison(self) -> BaselineGain | None:
        if not self.best or self.baseline is None:
            return None
        best, baseline = self.best[0].values[0], self.baseline.values[0]
        return BaselineGain(
            best, baseline, best - baseline if self.view.directions[0] == "maximize" else baseline - best
        )

    @property
    def saving(self) -> Saving | None:
        return self.insight.pruning

    @property
    def evaluation(self) -> EvaluationDocument | None:
        """The document of `hpo evaluate`; None if there is none, or it has another format."""
        return self.view.evaluation

    @property
    def winner(self) -> ConfigurationRow | None:
        """The configuration that won the evaluation."""
        document = self.evaluation
        rows = document["configurations"] if document else []
        return next((row for row in rows if document and row["name"] == document["winner"]), None)

    def origin(self, trial: FrozenTrial) -> str:
        """Where a trial's parameters come from: "baseline", "known 1" and so on; empty if the sampler chose them."""
        return record_of(trial).get("origin", "") if self.view.declaration is not None else ""

    @property
    def best_trials(self) -> pandas.DataFrame:
        """Rows of `trials` for the best, with their rank from 1."""
        numbers = [trial.number for trial in self.best]
        rows = self.trials.set_index("number", drop=False).loc[numbers].reset_index(drop=True)
        rows.insert(0, "rank", list(range(1, len(numbers) + 1)))
        return rows

    def params(self, trial: FrozenTrial) -> Mapping[str, Any]:
        """A trial's original parameters, which may be lists and mappings."""
        return self.given.get(trial.number, trial.params)

    def varying(self) -> list[ParameterRange]:
        """Parameters worth a plot, the most important first: those that took more than one value."""
        order = {name: place for place, name in enumerate(self.importances.ranking(self.objectives[0]))}
        return sorted((one for one in self.parameters if one.varies), key=lambda one: order.get(one.name, len(order)))


def build_report(view: StudyView, *, top: int = 10) -> ReportData:
    """Compute the report of a study. `top`: how many best trials; ten times as many of a Pareto front."""
    given = view.trials
    view = replace(view, trials=with_plain_choices(given))
    parameters = find_parameters(view.trials)
    complete = tuple(
        trial
        for trial in view.trials
        if trial.state == TrialState.COMPLETE and trial.values and all(math.isfinite(value) for value in trial.values)
    )
    single = len(view.directions) == 1
    best = (
        ranked(view.trials, view.directions)[:top] if single else pareto_front(view.trials, view.directions)[: 10 * top]
    )
    return ReportData(
        view=view,
        made_at=datetime.now(UTC),
        parameters=parameters,
        complete=complete,
        best=tuple(best),
        baseline=next((trial for trial in complete if record_of(trial).get("origin") == "baseline"), None),
        trials=trials_frame(view),
        curves=curves_frame(view),
        importances=find_importances(complete, view.objectives, view.directions, parameters),
        failures=_failures(view),
        insight=insight_of(replace(view, trials=given)),
        given={one.number: one.params for one, plain in zip(given, view.trials, strict=True) if one is not plain},
    )


def _failures(view: StudyView) -> tuple[Failure, ...]:
    """Trials that failed, diverged or ran out of memory, the most common reason first."""
    found: dict[tuple[str, str], list[FrozenTrial]] = {}
    for trial in view.trials:
        recorded = record_of(trial).get("failure")
        if recorded is not None:
            key = (str(recorded.get("kind", "failed")), str(recorded.get("reason", "")).strip() or "no reason recorded")
            found.setdefault(key, []).append(trial)
        elif trial.state == TrialState.FAIL:
            found.setdefault(("failed", "no reason recorded"), []).append(trial)
    failures = [
        Failure(kind, reason, tuple(trial.number for trial in trials), _traceback(trials[0]))
        for (kind, reason), trials in found.items()
    ]
    return tuple(sorted(failures, key=lambda failure: -len(failure.trials)))


def _traceback(trial: FrozenTrial) -> tuple[str, ...]:
    lines: Any = record_of(trial).get("failure", {}).get("traceback", ())
    return tuple(str(line) for line in lines) if isinstance(lines, (list, tuple)) else tuple(str(lines).splitlines())
