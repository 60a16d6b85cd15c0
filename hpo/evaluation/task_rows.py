"""What the task of a study adds to the evaluation's document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.evaluation.rows import mean_row
from hpo.evaluation.runs import RunResult
from hpo.evaluation.statistics import estimate, estimate_resampled
from hpo.results.evaluation import ConfigurationRow, EvaluationDocument, MeanRow, Mistake, Mistakes
from hpo.study.study import Study

__all__ = ["add_classes", "add_shown"]


def add_classes(study: Study, row: ConfigurationRow, done: Sequence[RunResult]) -> None:
    """Add the intersection over union of each class, over the complete runs, where the task is segmentation."""
    if any("per_class_iou" not in one.finished.facts for one in done):
        return
    names = study.dataset_row.class_names
    row["per_class_iou"] = {name: _of_class(done, label) for label, name in enumerate(names)}


def _of_class(done: Sequence[RunResult], label: int) -> MeanRow | None:
    facts = [one.finished.facts for one in done]
    values = [fact["per_class_iou"][label] for fact in facts]
    if any(value is None for value in values):
        return None
    spreads = [fact["per_class_spread"][label] for fact in facts]
    if any(spread is None for spread in spreads):
        return mean_row(estimate(values, least=0.0, most=1.0), values)
    return mean_row(estimate_resampled(values, spreads, facts[0]["test_images"], least=0.0, most=1.0), values)


def add_shown(study: Study, document: EvaluationDocument, results: Sequence[RunResult]) -> None:
    """Add the task, and what the first complete run of the winner, whose model is kept, has to show."""
    facts = next((one.finished.facts for one in results if one.complete), {})
    if "mistakes" in facts:
        document["mistakes"] = _named(facts["mistakes"], study.dataset_row.class_names)
    if study.parts.task == "classification":
        return
    document["task"] = study.parts.task
    if "residuals" in facts:
        names = study.dataset_row.class_names
        document["residuals"] = dict(zip(names, facts["residuals"], strict=True))
    if "picture" in facts:
        document["picture"] = facts["picture"]


def _named(found: Mapping[str, Any], classes: Sequence[str]) -> Mistakes:
    """With the names of classes; a stored run may say any number."""
    known = range(len(classes))
    rows: list[Mistake] = []
    for one in found["shown"]:
        if one["label"] not in known or one["predicted"] not in known:
            continue
        row: Mistake = {
            "index": one["index"],
            "label": classes[one["label"]],
            "predicted": classes[one["predicted"]],
            "confidence": one["confidence"],
            "image": one["image"],
        }
        if "file" in one:
            row["file"] = one["file"]
        rows.append(row)
    return {"count": found["count"], "shown": rows}
