"""Studies side by side: what is said of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.comparison import StudyComparison, compare_studies, write_comparison
from hpo.errors import UsageError
from hpo.results.reading import StudyView

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "layers": IntDistribution(1, 4),
    "optimizer": CategoricalDistribution(["adam", "sgd"]),
}


def trial(number: int, value: float | None, **params: Any) -> FrozenTrial:
    made = create_trial(
        state=TrialState.COMPLETE if value is not None else TrialState.FAIL,
        value=value,
        params=params,
        distributions={name: SPACE[name] for name in params},
        user_attrs={"seed": 1, "seconds": 2.0, "device": "cpu", "val_images": 1000},
    )
    made.number = number
    return made


def mean_row(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    return {"mean": mean, "n": len(values), "std": 0.0, "low": mean - 0.01, "high": mean + 0.01,
            "no_interval": "", "values": values}  # fmt: skip


def evaluated(values: list[float], *, dataset: str = "digits", others: int = 0) -> Any:
    """A document whose winner, trial 1, came to these values; `others` more configurations had worse ones."""
    rows = [
        {"name": "trial 1", "trial": 1, "baseline": False, "params": {"lr": 0.01}, "test_accuracy": mean_row(values)}
    ]
    rows += [
        {"name": f"trial {n}", "trial": n, "baseline": False, "params": {}, "test_accuracy": mean_row([0.1, 0.1])}
        for n in range(2, 2 + others)
    ]
    return {"configurations": rows, "winner": "trial 1", "dataset": dataset, "test_images": 100,
            "verdict": {"best": "trial 1", "sentence": "It is.", "beats_baseline": None}}  # fmt: skip


def study(name: str, *values: float | None, **fields: Any) -> StudyView:
    trials = tuple(trial(number, value, lr=0.01, layers=number % 4 + 1) for number, value in enumerate(values))
    given: dict[str, Any] = {"directions": ("maximize",), "objectives": ("val_accuracy",), "declaration": {}, **fields}
    return StudyView(name, trials=trials, **given)


def compared(*views: StudyView) -> StudyComparison:
    return compare_studies(views)


# The verdict


def test_fresh_runs_decide_where_each_study_has_them() -> None:
    """Also against the searches, of which the other one found more."""
    a = study("a", 0.5, 0.99, evaluation=evaluated([0.90, 0.91, 0.92, 0.91, 0.90]))
    b = study("b", 0.5, 0.60, evaluation=evaluated([0.96, 0.97, 0.96, 0.97, 0.96]))
    found = compared(a, b).verdict
    assert (found.basis, found.best, found.order, found.optimistic) == ("evaluation", "b", ("b", "a"), False)
    assert found.sentence.startswith(
        "b is better than a beyond chance (test accuracy, fresh runs: b 0.96400, a 0.90800; p = "
    )
    assert found.pairs[0].difference == pytest.approx(0.056)
    assert found.pairs[0].p is not None
    assert found.pairs[0].p < 0.05


def test_runs_that_overlap_are_not_told_apart() -> None:
    runs = [0.90, 0.95, 0.92]
    found = compared(
        *(study(n, 0.5, 0.6, evaluation=evaluated([r + d for r in runs])) for n, d in (("a", 0), ("b", 0.001)))
    )
    assert (found.verdict.best, found.verdict.tied) == (None, ("b", "a"))
    assert found.verdict.sentence.startswith("b and a do not differ beyond chance")


def test_of_three_the_one_that_is_worse_is_named() -> None:
    high = ([0.95, 0.96, 0.94, 0.95, 0.95], [0.951, 0.96, 0.94, 0.95, 0.95])
    views = [
        study(n, 0.5, 0.6, evaluation=evaluated(runs))
        for n, runs in zip("abc", (*high, [0.5, 0.51, 0.49, 0.5, 0.5]), strict=True)
    ]
    found = compared(*views).verdict
    assert found.sentence.startswith("b and a do not differ beyond chance; b is better than c (")
    assert (found.best, found.tied) == (None, ("b", "a"))


def test_p_counts_every_configuration_that_the_winner_was_chosen_from() -> None:
    runs = ([0.90, 0.91, 0.92, 0.91, 0.90], [0.93, 0.94, 0.93, 0.94, 0.92])
    alone, many = (
        compared(*(study(n, 0.5, 0.6, evaluation=evaluated(r, others=others)) for n, r in zip("ab", runs, strict=True)))
        for others in (0, 2)
    )
    assert alone.verdict.pairs[0].p is not None
    assert many.verdict.pairs[0].p == pytest.approx(9 * alone.verdict.pairs[0].p)


def test_one_run_each_decides_nothing() -> None:
    found = compared(*(study(n, 0.5, 0.6, evaluation=evaluated([v])) for n, v in (("a", 0.9), ("b", 0.8)))).verdict
    assert (found.best, found.pairs[0].p) == (None, None)
    assert found.sentence.startswith("One run each cannot tell skill from luck: evaluate with --seeds 3 or more (")


def test_without_an_evaluation_the_search_is_called_optimistic() -> None:
    whole = compared(study("a", 0.5, 0.95), study("b", 0.5, 0.90, 0.85, evaluation=evaluated([0.9, 0.9])))
    found = whole.verdict
    assert (found.basis, found.best, found.optimistic, found.order) == ("search", None, True, ("a", "b"))
    assert found.sentence == (
        "a found more than b, 0.05000 apart. In the search: a 0.95000 (trial 1) and b 0.90000 (trial 1). That is "
        "optimistic, because each is the best of many noisy trials (2 and 3): a was not evaluated."
    )
    assert whole.next_steps == ("`hpo evaluate --study a` measures its best with fresh seeds",)


def test_evaluations_on_different_data_decide_nothing() -> None:
    a, b = (study(n, 0.5, 0.6 + i, evaluation=evaluated([0.9, 0.8, 0.7], dataset=n)) for i, n in enumerate("ab"))
    found = compared(a, b).verdict
    assert (found.basis, found.pairs) == ("search", ())
    assert found.why_search == "they were evaluated on different data or by different metrics"


def test_a_few_images_are_a_tie() -> None:
    found = compared(study("a", 0.5, 0.905), study("b", 0.5, 0.900)).verdict
    assert found.tied == ("a", "b")
    assert "5 of 1000 validation images apart" in found.sentence


def test_a_study_that_has_no_best_trial_is_said_beside_those_that_have() -> None:
    found = compared(study("a", 0.5, 0.9), study("b", 0.5, 0.6), study("none"), study("bad", None)).verdict
    assert found.order == ("a", "b")
    assert found.sentence.endswith("There is no best trial of none (no trials yet) and bad (no complete trial yet).")
    nothing = compared(study("a", 0.5), study("none"))
    assert nothing.verdict.basis == "nothing"
    assert nothing.verdict.sentence == "Nothing to compare yet. There is no best trial of none (no trials yet)."


def test_the_smaller_value_wins_where_it_is_minimized() -> None:
    views = [study(n, v, directions=("minimize",), objectives=("value",)) for n, v in (("a", 2.0), ("b", 1.0))]
    assert compared(*views).verdict.order == ("b", "a")


# What stands beside it


def test_settings_that_differ_come_first_with_a_gap_where_one_has_none() -> None:
    a = StudyView("a", ("maximize",), (trial(0, 0.5, lr=0.01, layers=2),), objectives=("m",))
    b = StudyView("b", ("maximize",), (trial(0, 0.6, lr=0.01, layers=3, optimizer="adam"),), objectives=("m",))
    rows = [(row.name, row.values, row.differs) for row in compared(a, b).settings]
    assert rows == [("layers", (2, 3), True), ("optimizer", (None, "adam"), True), ("lr", (0.01, 0.01), False)]


def test_the_document_and_the_page_say_the_same(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    found = compared(study(evil, 0.5, 0.9), study("b", 0.5, float("inf"), 0.7))
    page, facts = write_comparison(found, tmp_path / "out")
    document = json.loads(facts.read_text())
    assert document == json.loads(json.dumps(found.document()))
    assert [one["study"] for one in document["studies"]] == [evil, "b"]
    assert document["studies"][0]["cost"]["seconds"] == {"CPU": 4.0}
    shown = page.read_text()
    assert "<img" not in shown.split("<script")[0]
    assert "found more than b, 0.20000 apart" in shown


# What is refused


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([study("a", 0.5)], "a alone can be compared with nothing"),
        ([study("a", 0.5), study("b", 0.5), study("a", 0.5)], "a is named twice"),
        ([study(f"s{n}", 0.5) for n in range(13)], "13 studies are too many to compare at once"),
        ([study("a", 0.5), study("b", 0.5, objectives=("loss",))], "these studies optimise different numbers"),
        ([study("a", 0.5), study("b", 0.5, directions=("minimize",))], "these studies optimise different numbers"),
        (
            [study("a", 0.5), study("b", directions=("maximize",) * 2, objectives=("m", "n"))],
            "studies of several objectives cannot be put in one order",
        ),
    ],
    ids=["one", "twice", "many", "metric", "direction", "front"],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_words(views: list[StudyView], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        compare_studies(views)
    assert refused.value.next


def test_an_objective_without_a_name_may_be_any() -> None:
    assert compared(study("a", 0.5), study("b", 0.6, objectives=("value",))).metric == "val_accuracy"
