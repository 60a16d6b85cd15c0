"""What `hpo evaluate` leaves (docs/evaluation.md), as types: evaluation.json and the document in the database alike.

hpo/evaluation/document.py writes it; the command line, reports and whoever reads the database take it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

from hpo.conforming import conforms
from hpo.storage.evaluations import EVALUATION_FORMAT

__all__ = [
    "ConfigurationRow",
    "EvaluationDocument",
    "FailedRun",
    "MeanRow",
    "Mistake",
    "Mistakes",
    "RunRow",
    "SearchRerun",
    "Verdict",
    "as_document",
    "score_of",
    "search_score_of",
]


class MeanRow(TypedDict):
    """A measure over the complete runs. low, high: a 95 % interval; None where `no_interval` says why there is none."""

    mean: float
    n: int
    std: float | None
    low: float | None
    high: float | None
    no_interval: str
    values: list[float]


class RunRow(TypedDict):
    """One complete run. metrics: what the user's own `final(run)` reported; the rest is of a model that hpo trains."""

    seed: int
    device: str
    train_seconds: float
    test_accuracy: NotRequired[float]
    test_loss: NotRequired[float]
    macro_f1: NotRequired[float]
    latency_p50_ms: NotRequired[float]
    latency_p95_ms: NotRequired[float]
    images_per_second: NotRequired[float]
    metrics: NotRequired[dict[str, float]]


class FailedRun(TypedDict):
    """One run that did not come to its end. outcome: "diverged", "out_of_memory" or "failed"."""

    seed: int
    outcome: str
    reason: str


class ConfigurationRow(TypedDict):
    """One configuration: what it is, and what its runs came to. None where no run of it is complete.

    search_score, score: what it was judged by in the search, and by the runs here, as `score_of` reads them
    optimism_gap: how much better it was in the search than its mean here
    metrics:      each metric of the study's own on the test split, or that `final(run)` reported
    confusion:    counts of all runs together, a row for each label: each test image appears once per run
    per_class_iou: of a study whose task is segmentation, by class; None for one that is nowhere in the test split
    """

    name: str
    key: str
    trial: int | None
    rank: int | None
    baseline: bool
    params: dict[str, Any]
    config: dict[str, Any]
    epochs: int
    epochs_from: str
    search_val_accuracy: float | None
    test_accuracy: MeanRow | None
    optimism_gap: float | None
    failures: list[FailedRun]
    test_loss: MeanRow | None
    macro_f1: MeanRow | None
    per_class_accuracy: dict[str, float]
    confusion: list[list[int]]
    test_images: int | None
    parameters: int | None
    macs: int | None
    model_bytes: int | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    images_per_second: float | None
    train_seconds: MeanRow | None
    device: str | None
    runs: list[RunRow]
    score: NotRequired[MeanRow | None]
    search_score: NotRequired[float | None]
    metrics: NotRequired[dict[str, MeanRow]]
    per_class_iou: NotRequired[dict[str, MeanRow | None]]


class Verdict(TypedDict):
    """Whether the best of the search beats the baseline beyond chance; None where there is nothing to compare.

    difference, low, high, p, chosen_among: as in hpo.evaluation.statistics.Comparison
    """

    beats_baseline: bool | None
    best: NotRequired[str]
    test: NotRequired[str]
    n: NotRequired[list[int]]
    difference: NotRequired[float]
    low: NotRequired[float | None]
    high: NotRequired[float | None]
    p: NotRequired[float]
    chosen_among: NotRequired[int]
    sentence: str


class SearchRerun(TypedDict):
    """The winner trained once more as in the search. same: None where the search never finished it.

    val_accuracy: its score then; `score` has it where the user's own function trains
    """

    val_accuracy: float | None
    same: bool | None
    score: NotRequired[float | None]


class Mistake(TypedDict):
    """A test image that was taken for another class. index: its number in the test split, from 0

    confidence: the probability that the model gives the predicted class, 0..1; image: a small picture, WebP in base64
    file: its path below the folder of an ImageFolder
    """

    index: int
    label: str
    predicted: str
    confidence: float
    image: str
    file: NotRequired[str]


class Mistakes(TypedDict):
    """Of one run on the test split. count: of all; shown: at most 24 of them, the most confident first."""

    count: int
    shown: list[Mistake]


class EvaluationDocument(TypedDict):
    """Everything about an evaluation. winner: the name of a configuration; None when no run is complete.

    metric, direction: what decides; left out, it is test_accuracy, maximized
    search_rerun: once the winner has been trained again
    task:         of the study; left out, it is classification
    residuals:    of the winner's first run: for each value of a regression, [target, prediction] of test items
    picture:      of the winner's first run, a PNG in base64: test images, their masks, and the predicted ones
    mistakes:     of the winner's first run, of images that have a class; left out where an older hpo evaluated
    """

    format: int
    study: str
    objective: list[str]
    evaluated_at: str
    dataset: str
    classes: list[str]
    test_images: int | None
    seeds: int
    configurations: list[ConfigurationRow]
    winner: str | None
    verdict: Verdict
    metric: NotRequired[str]
    direction: NotRequired[str]
    task: NotRequired[str]
    residuals: NotRequired[dict[str, list[list[float]]]]
    picture: NotRequired[str]
    mistakes: NotRequired[Mistakes]
    search_rerun: NotRequired[SearchRerun]


def score_of(row: ConfigurationRow) -> MeanRow | None:
    """What decides between configurations, over the complete runs of this one."""
    return row.get("score") or row["test_accuracy"]


def search_score_of(row: ConfigurationRow) -> float | None:
    found = row.get("search_score")
    return row["search_val_accuracy"] if found is None else found


def as_document(stored: Mapping[str, Any] | None) -> EvaluationDocument | None:
    """What the database holds, as the type above; None where there is none, or one of another format or shape."""
    if stored is None or stored.get("format") != EVALUATION_FORMAT or not conforms(stored, EvaluationDocument):
        return None
    return cast(EvaluationDocument, stored)
