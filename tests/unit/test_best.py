"""One truth about best."""

from __future__ import annotations

import math

import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.results.best import (
    best_trial,
    eligible,
    outside_text,
    pareto_front,
    ranked,
    trial_with,
    why_no_baseline,
    why_no_best,
)


def made(
    number: int,
    *values: float,
    state: TrialState = TrialState.COMPLETE,
    constraints: dict[str, float] | None = None,
    lr: float = 0.1,
) -> FrozenTrial:
    trial = create_trial(
        state=state,
        values=list(values) or None,
        params={"lr": lr},
        distributions={"lr": FloatDistribution(0.0, 1.0)},
        constraints=constraints,
    )
    trial.number = number
    return trial


@pytest.mark.parametrize(("direction", "number"), [("maximize", 1), ("minimize", 0)])
def test_the_direction_decides(direction: str, number: int) -> None:
    best = best_trial([made(0, 0.1), made(1, 0.9), made(2, 0.5)], [direction])
    assert best is not None
    assert best.number == number


def test_optunas_directions_mean_the_same() -> None:
    trials = [made(0, 0.1), made(1, 0.9)]
    assert best_trial(trials, [StudyDirection.MINIMIZE]) is trials[0]
    assert best_trial(trials, [StudyDirection.MAXIMIZE]) is trials[1]


def test_ties_go_to_the_lower_number_whatever_the_order() -> None:
    trials = [made(7, 0.9), made(3, 0.9), made(5, 0.9)]
    assert [trial.number for trial in ranked(trials, ["maximize"])] == [3, 5, 7]
    assert [trial.number for trial in ranked(trials, ["minimize"])] == [3, 5, 7]


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_best(value: float) -> None:
    assert best_trial([made(0, value)], ["maximize"]) is None


def test_only_complete_trials_count() -> None:
    others = [made(0, 0.99, state=TrialState.PRUNED), made(1, state=TrialState.FAIL)]
    assert eligible(others) == []
    assert best_trial([*others, made(2, 0.1)], ["maximize"]).number == 2  # type: ignore[union-attr]


def test_a_violated_constraint_rules_a_trial_out_and_zero_does_not() -> None:
    trials = [
        made(0, 0.99, constraints={"memory": 1.0, "finite": -1.0}),
        made(1, 0.5, constraints={"memory": 0.0}),
        made(2, 0.4),
    ]
    assert [trial.number for trial in ranked(trials, ["maximize"])] == [1, 2]


def test_no_trial_gives_no_best() -> None:
    assert best_trial([], ["maximize"]) is None
    assert ranked([], ["maximize"]) == []
    assert pareto_front([], ["maximize", "minimize"]) == []


def test_the_first_objective_decides_and_the_second_breaks_ties() -> None:
    trials = [made(0, 0.9, 500.0), made(1, 0.9, 100.0), made(2, 0.8, 1.0)]
    assert [trial.number for trial in ranked(trials, ["maximize", "minimize"])] == [1, 0, 2]


def test_the_front_is_optunas_front() -> None:
    """Against the definition, on a grid with many ties."""
    trials = [made(n, float(n * 7 % 11), float(n * 5 % 13), float(n % 3)) for n in range(60)]
    directions = ["maximize", "minimize", "minimize"]

    def dominated(trial: FrozenTrial) -> bool:
        mine = [-trial.values[0], *trial.values[1:]]
        others = ([-other.values[0], *other.values[1:]] for other in trials)
        return any(other != mine and all(o <= m for o, m in zip(other, mine, strict=True)) for other in others)

    expected = {trial.number for trial in trials if not dominated(trial)}
    assert {trial.number for trial in pareto_front(trials, directions)} == expected
    assert 1 < len(expected) < 60


def test_equal_trials_share_the_front() -> None:
    assert len(pareto_front([made(0, 1.0, 2.0), made(1, 1.0, 2.0)], ["maximize", "minimize"])) == 2


def test_a_wrong_direction_is_a_bug_and_says_so() -> None:
    with pytest.raises(ValueError, match="upwards"):
        best_trial([made(0, 1.0)], ["upwards"])


def test_the_baseline_is_found_by_its_parameters() -> None:
    trials = [made(0, 0.1, lr=0.1), made(1, 0.2, lr=0.2), made(2, 0.3, lr=0.2)]
    assert trial_with(trials, {"lr": 0.2}) is trials[1]
    assert trial_with(trials, {"lr": 0.3}) is None


def baseline(state: TrialState, *values: float, reason: str = "") -> FrozenTrial:
    trial = made(0, *values, state=state)
    trial.set_user_attr("origin", "baseline")
    if reason:
        trial.set_user_attr("failure", {"reason": reason})
    return trial


@pytest.mark.parametrize(
    ("trial", "why"),
    [
        (baseline(TrialState.COMPLETE, 0.5), ""),
        (baseline(TrialState.COMPLETE, math.inf), "trial 0 is complete, but its value is not finite"),
        (baseline(TrialState.FAIL, reason="ValueError: 3"), "trial 0 failed: ValueError: 3"),
        (baseline(TrialState.FAIL), "trial 0 failed"),
        (baseline(TrialState.PRUNED), "trial 0 was pruned"),
        (baseline(TrialState.RUNNING), "trial 0 has not finished"),
        (made(0, 0.5), "no trial is marked as the baseline"),
    ],
)
def test_a_comparison_with_the_baseline_that_is_missing_has_a_reason(trial: FrozenTrial, why: str) -> None:
    assert why_no_baseline([trial]) == why


def test_having_no_best_has_a_reason() -> None:
    assert why_no_best([]) == "no trials yet"
    assert why_no_best([made(0, state=TrialState.FAIL)]) == "no complete trial yet"
    assert why_no_best([made(0, math.inf)]) == "the complete trial does not count: 1 not finite"
    assert "1 not finite, 2 break a constraint" in why_no_best(
        [made(0, -math.inf), *(made(number, 0.1, constraints={"memory": 1.0}) for number in (1, 2))]
    )


def test_a_value_told_from_outside_is_not_the_best_where_hpo_trained_a_trial() -> None:
    """And it says so. Where nothing of hpo's counts, the best is the best of what was told."""
    told, trained = made(1, 0.99), made(0, 0.5)
    assert best_trial([trained, told], ["maximize"]) is told
    assert outside_text([trained, told]) == ""
    trained.set_user_attr("worker", "host-1")
    for trials in ([trained, told], [told, trained]):
        assert best_trial(trials, ["maximize"]) is trained
        assert [trial.number for trial in ranked(trials, ["maximize"])] == [0]
        assert outside_text(trials) == "trial 1 was told from outside, not trained by hpo, and is never the best"
    many = [trained, *(made(number, 0.9) for number in range(2, 9))]
    assert outside_text(many).startswith("trials 2, 3, 4, 5, 6, ... were told")
    broken = made(0, math.inf)
    broken.set_user_attr("seed", 1)
    assert best_trial([broken, told], ["maximize"]) is told
