"""The row of a configuration that the user's own `final(run)` trained, with the metrics that the function reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo.evaluation.candidates import Candidate
from hpo.evaluation.rows import mean_row, row_of
from hpo.evaluation.runs import RunResult
from hpo.evaluation.statistics import MeanEstimate, estimate, estimate_resampled
from hpo.own_messages import final_names
from hpo.results.evaluation import ConfigurationRow
from hpo.study.study import Study
from hpo.study.tasks import RANGES, built_in_metrics

__all__ = ["final_metric", "own_configuration"]


def own_configuration(study: Study, candidate: Candidate, results: Sequence[RunResult]) -> ConfigurationRow:
    """One configuration: what it is, and what its runs came to."""
    done = [result for result in results if result.complete]
    row = row_of(candidate, results)
    if not done:
        return row
    add_metrics(study, candidate, row, done, list(done[0].finished.metrics))
    seconds = [float(one.finished.facts["train_seconds"]) for one in done]
    row["train_seconds"], row["device"] = mean_row(estimate(seconds, least=0.0), seconds), done[0].device
    row["runs"] = [
        {
            "seed": one.seed,
            "device": one.device,
            "train_seconds": float(one.finished.facts["train_seconds"]),
            "metrics": {name: float(value) for name, value in one.finished.metrics.items()},
        }
        for one in done
    ]
    return row


def add_metrics(
    study: Study, candidate: Candidate, row: ConfigurationRow, done: Sequence[RunResult], names: Sequence[str]
) -> None:
    """Add the metrics called `names` of the complete runs, and the score where one of them decides."""
    everywhere = [name for name in names if all(name in one.finished.metrics for one in done)]
    columns = {name: [float(one.finished.metrics[name]) for one in done] for name in everywhere}
    row["metrics"] = metrics = {
        name: mean_row(_interval(study, name, values, done), values) for name, values in columns.items()
    }
    score = next((metrics[name] for name in final_names(study.judged_by) if name in metrics), None)
    if score is None:
        return
    row["score"], row["search_score"] = score, candidate.search_score
    if candidate.search_score is not None:
        gap = candidate.search_score - score["mean"]
        row["optimism_gap"] = gap if study.judged_direction == "maximize" else -gap


def _interval(study: Study, name: str, values: Sequence[float], done: Sequence[RunResult]) -> MeanEstimate:
    """For new seeds and new test items, where the trainers have resampled these; else for new seeds alone."""
    least, most = _range(study, name)
    spreads = [one.finished.facts.get("test_spread", {}).get(name) for one in done]
    if study.own is not None or not all(isinstance(spread, float) for spread in spreads):
        return estimate(values, least=least, most=most)
    return estimate_resampled(values, spreads, done[0].finished.facts["test_images"], least=least, most=most)


def _range(study: Study, name: str) -> tuple[float, float]:
    """(smallest, largest) that the metric can be, as far as hpo knows it."""
    if study.own is None:
        for own, metric in study.parts.metrics.items():
            if final_names(own)[0] == name and metric.reference in built_in_metrics():
                return RANGES[own]
    return -math.inf, math.inf


def final_metric(study: Study, rows: Sequence[ConfigurationRow]) -> str:
    """The metric that decides: the objective's, as it is called on test data."""
    reported = next((row["metrics"] for row in rows if row.get("metrics")), {})
    return next((name for name in final_names(study.objectives[0]) if name in reported), study.objectives[0])
