"""The evaluation of a training of the user's own: its own metrics decide, whichever way they are better."""

from __future__ import annotations

from typing import Any

import pytest

from hpo import Float, Study
from hpo.evaluation.candidates import Candidate
from hpo.evaluation.document import document
from hpo.evaluation.runs import RunResult
from hpo.messages import Finished


def study(objective: str, direction: str) -> Study:
    return Study(
        name="own",
        train="somewhere:train",
        final="somewhere:final",
        objective=objective,
        direction=direction,
        space={"lr": Float(1e-3, 1.0, log=True)},
        baseline={"lr": 0.1},
    )


FACTS = {"train_seconds": 1.0}


def evaluated(made: Study, scores: dict[str, list[float]], **metrics: float) -> Any:
    """The document of these test scores by configuration; each had 0.5 in the search."""
    candidates = [
        Candidate(name, {"lr": index}, {"lr": index}, trial=index, baseline=name == "baseline", search_score=0.5)
        for index, name in enumerate(scores)
    ]
    results = {
        candidate.key: [
            RunResult(
                seed,
                "cpu",
                Finished(0, "complete", metrics={"test_f1": value, **metrics}, facts={"train_seconds": 1.0}),
            )
            for seed, value in enumerate(values)
        ]
        for candidate, values in zip(candidates, scores.values(), strict=True)
    }
    return document(made, candidates, results, seeds=3)


SCORES = {"low": [0.1, 0.11, 0.12], "high": [0.8, 0.81, 0.82], "baseline": [0.4, 0.41, 0.42]}


@pytest.mark.parametrize(("direction", "winner"), [("maximize", "high"), ("minimize", "low")])
def test_the_winner_is_the_better_one_by_the_direction_of_the_study(direction: str, winner: str) -> None:
    found = evaluated(study("val_f1", direction), SCORES)
    assert (found["winner"], found["verdict"]["best"], found["verdict"]["beats_baseline"]) == (winner, winner, True)
    assert "beats the baseline" in found["verdict"]["sentence"]
    gaps = {row["name"]: row["optimism_gap"] for row in found["configurations"]}
    assert gaps["high"] == pytest.approx(-0.31 if direction == "maximize" else 0.31)
    worse = {"low": SCORES["low"], "baseline": SCORES["baseline"]} if direction == "maximize" else {
        "high": SCORES["high"], "baseline": SCORES["baseline"]
    }  # fmt: skip
    verdict = evaluated(study("val_f1", direction), worse)["verdict"]
    assert verdict["beats_baseline"] is False
    assert "is worse than the baseline" in verdict["sentence"]


def test_what_was_measured_on_test_data_goes_before_the_name_of_the_search() -> None:
    found = evaluated(study("val_f1", "maximize"), SCORES, val_f1=0.99, errors=3.0)
    assert found["metric"] == "test_f1"
    row = found["configurations"][0]
    assert row["score"]["mean"] == pytest.approx(0.11)
    assert row["metrics"]["errors"]["mean"] == 3.0
    assert evaluated(study("errors", "minimize"), SCORES, errors=3.0)["metric"] == "errors"
