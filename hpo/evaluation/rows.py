"""What the row of a configuration has in the evaluation's document, whoever trained it."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.evaluation.candidates import Candidate
from hpo.evaluation.runs import RunResult
from hpo.evaluation.statistics import MeanEstimate
from hpo.results.evaluation import ConfigurationRow, MeanRow

__all__ = ["mean_row", "row_of"]


def row_of(candidate: Candidate, results: Sequence[RunResult]) -> ConfigurationRow:
    """The row of a configuration of which nothing is measured."""
    return {
        "name": candidate.name,
        "key": candidate.key,
        "trial": candidate.trial,
        "rank": candidate.rank,
        "baseline": candidate.baseline,
        "params": dict(candidate.params),
        "config": dict(candidate.config),
        "epochs": candidate.epochs,
        "epochs_from": candidate.epochs_from,
        "search_val_accuracy": None,
        "test_accuracy": None,
        "optimism_gap": None,
        "failures": [
            {"seed": result.seed, "outcome": result.finished.outcome, "reason": result.finished.reason}
            for result in results
            if not result.complete
        ],
        "test_loss": None,
        "macro_f1": None,
        "per_class_accuracy": {},
        "confusion": [],
        "test_images": None,
        "parameters": None,
        "macs": None,
        "model_bytes": None,
        "latency_p50_ms": None,
        "latency_p95_ms": None,
        "images_per_second": None,
        "train_seconds": None,
        "device": None,
        "runs": [],
    }


def mean_row(found: MeanEstimate, values: Sequence[float]) -> MeanRow:
    return {
        "mean": found.mean,
        "n": found.n,
        "std": found.std,
        "low": found.low,
        "high": found.high,
        "no_interval": found.no_interval,
        "values": list(values),
    }
