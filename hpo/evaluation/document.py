"""An evaluation as one document (docs/evaluation.md), made from its runs and written to its file.

Its types are in hpo/results/evaluation.py, where readers of the document find them too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

from hpo.atomic_file import write_atomically
from hpo.evaluation.candidates import Candidate
from hpo.evaluation.own_rows import add_metrics, final_metric, own_configuration
from hpo.evaluation.rows import mean_row, row_of
from hpo.evaluation.runs import RunResult
from hpo.evaluation.statistics import Comparison, compare, estimate, estimate_accuracy
from hpo.evaluation.task_rows import add_classes, add_shown
from hpo.own_messages import final_names
from hpo.results.evaluation import ConfigurationRow, EvaluationDocument, MeanRow, RunRow, Verdict, score_of
from hpo.storage.evaluations import EVALUATION_FORMAT
from hpo.study.study import Study
from hpo.study.tasks import TASKS

__all__ = ["configuration", "document", "verdict", "winner", "write_document"]

Results = Mapping[str, Sequence[RunResult]]


def document(study: Study, candidates: Sequence[Candidate], results: Results, *, seeds: int) -> EvaluationDocument:
    """Everything about an evaluation. `results`: every final run's, by candidate key."""
    own = study.own is not None
    make = own_configuration if own else configuration
    rows = [make(study, candidate, results[candidate.key]) for candidate in candidates]
    direction = study.judged_direction
    best = winner(rows, direction)
    images = [row["test_images"] for row in rows if row["test_images"]]
    made: EvaluationDocument = {
        "format": EVALUATION_FORMAT,
        "study": study.name,
        "objective": list(study.objectives),
        "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": study.dataset_name,
        "classes": [] if own else list(study.dataset_row.class_names),
        "test_images": images[0] if images else None,
        "seeds": seeds,
        "configurations": rows,
        "winner": best["name"] if best else None,
        "verdict": verdict(rows, direction),
    }
    if study.judged_by != "val_accuracy" or own:
        made = {**made, "metric": final_metric(study, rows), "direction": direction}
    if best and not own:
        add_shown(study, made, results[best["key"]])
    return made


def write_document(path: Path, document: EvaluationDocument) -> None:
    """Write evaluation.json, whole or not at all. Raises OSError."""
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def winner(rows: Sequence[ConfigurationRow], direction: str = "maximize") -> ConfigurationRow | None:
    """The configuration with the best mean score; None when no run of any is complete."""
    done = [(score["mean"], row) for row in rows if (score := score_of(row))]
    pick = max if direction == "maximize" else min
    return pick(done, key=lambda pair: pair[0])[1] if done else None


def configuration(study: Study, candidate: Candidate, results: Sequence[RunResult]) -> ConfigurationRow:
    """One configuration: what it is, and the results of its runs."""
    done = [result for result in results if result.complete]
    scores = [float(result.finished.metrics["test_accuracy"]) for result in done if study.task_row.accuracy]
    test = mean_row(estimate_accuracy(scores, done[0].finished.facts["test_images"]), scores) if scores else None
    by_class = bool(done) and all("confusion" in result.finished.facts for result in done)
    facts = [result.finished.facts for result in done]
    first: Mapping[str, Any] = facts[0] if facts else {}
    found = candidate.search_score if study.judged_by == "val_accuracy" else None
    row: ConfigurationRow = {
        **row_of(candidate, results),
        "search_val_accuracy": found,
        "test_accuracy": test,
        "optimism_gap": found - test["mean"] if test and found is not None else None,
        "test_loss": _over(done, lambda result: result.finished.metrics["test_loss"]),
        "macro_f1": _over(done, lambda result: result.finished.facts["macro_f1"], most=1.0) if by_class else None,
        "per_class_accuracy": _per_class(study.dataset_row.class_names, facts) if by_class else {},
        "confusion": _sum([fact["confusion"] for fact in facts]) if by_class else [],
        "test_images": first.get("test_images"),
        "parameters": first.get("parameters"),
        "macs": first.get("macs"),
        "model_bytes": first.get("model_bytes"),
        "latency_p50_ms": _median(facts, "latency_p50_ms"),
        "latency_p95_ms": _median(facts, "latency_p95_ms"),
        "images_per_second": _median(facts, "images_per_second"),
        "train_seconds": _over(done, lambda result: result.finished.facts["train_seconds"]),
        "device": done[0].device if done else None,
        "runs": [_run(result) for result in done],
    }
    names = [final_names(name)[0] for name in study.parts.metrics]
    if study.task_row is not TASKS["classification"]:
        names = [*names, "test_loss", *(["test_accuracy"] if study.task_row.accuracy else [])]
    if done and names:
        add_metrics(study, candidate, row, done, names)
        add_classes(study, row, done)
    return row


def _per_class(classes: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean accuracy of each class over the runs; empty without any."""
    if not facts:
        return {}
    return {name: fmean(fact["per_class_accuracy"][index] for fact in facts) for index, name in enumerate(classes)}


def verdict(rows: Sequence[ConfigurationRow], direction: str = "maximize") -> Verdict:
    """Whether the best configuration of the search beats the baseline beyond chance, in numbers and in a sentence."""
    baseline = next((row for row in rows if row["baseline"] and score_of(row)), None)
    others = [row for row in rows if not row["baseline"] and score_of(row)]
    if baseline is None or not others:
        missing = "no run of the baseline is complete" if baseline is None else "there is only the baseline"
        return {"beats_baseline": None, "sentence": f"Nothing to compare: {missing}."}
    best = winner(others, direction)
    assert best is not None
    one, two = score_of(best), score_of(baseline)
    assert one is not None
    assert two is not None
    found = compare(one["values"], two["values"], chosen_among=len(others))
    if found is None:
        sentence = (
            f"{_who(best)} scored {one['mean']:.4f} and the baseline {two['mean']:.4f}, but one run each cannot tell "
            "skill from luck: use --seeds 3 or more."
        )
        return {"beats_baseline": None, "best": best["name"], "sentence": sentence}
    return {
        "beats_baseline": found.beyond_chance and _is_gain(found, direction),
        "best": best["name"],
        "test": f"{_test(found)} on the runs, two-sided, Bonferroni-corrected for having chosen the best",
        "n": [one["n"], two["n"]],
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "chosen_among": found.chosen_among,
        "sentence": _sentence(best, found, one["n"], two["n"], direction),
    }


def _is_gain(found: Comparison, direction: str) -> bool:
    return found.difference > 0 if direction == "maximize" else found.difference < 0


def _sentence(best: ConfigurationRow, found: Comparison, n: int, baseline_n: int, direction: str) -> str:
    interval = (
        f"95 % interval {found.low:+.4f} to {found.high:+.4f}"
        if found.low is not None
        else "the runs of each are all alike"
    )
    numbers = f"{found.difference:+.4f}, {interval}"
    corrected = f", corrected for the best of {found.chosen_among}" if found.chosen_among > 1 else ""
    how = f"{_test(found)}, n = {n} and {baseline_n} runs, p = {found.p:.2g}{corrected}"
    if found.beyond_chance:
        claim = "beats the baseline" if _is_gain(found, direction) else "is worse than the baseline"
    else:
        claim = "does not differ from the baseline beyond chance"
    return f"{_who(best)} {claim} ({numbers}; {how})."


def _test(found: Comparison) -> str:
    return "Welch's t-test" if found.low is not None else "exact permutation test"


def _who(row: ConfigurationRow) -> str:
    name = row["name"]
    return name[0].upper() + name[1:]


def _run(result: RunResult) -> RunRow:
    metrics, facts = result.finished.metrics, result.finished.facts
    row: RunRow = {
        "seed": result.seed,
        "device": result.device,
        "test_loss": metrics["test_loss"],
        "latency_p50_ms": facts["latency_p50_ms"],
        "latency_p95_ms": facts["latency_p95_ms"],
        "images_per_second": facts["images_per_second"],
        "train_seconds": facts["train_seconds"],
    }
    if "test_accuracy" in metrics:
        row["test_accuracy"] = metrics["test_accuracy"]
    if "macro_f1" in facts:
        row["macro_f1"] = facts["macro_f1"]
    return row


def _over(done: Sequence[RunResult], value: Callable[[RunResult], float], *, most: float = math.inf) -> MeanRow | None:
    """The row of a measure that lies between 0 and `most`."""
    values = [float(value(result)) for result in done]
    return mean_row(estimate(values, least=0.0, most=most), values) if values else None


def _median(facts: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return median(fact[name] for fact in facts) if facts else None


def _sum(tables: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*tables, strict=True)]
