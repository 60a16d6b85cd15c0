"""The answers about a study: on made-up trials whose truth is known."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from hpo.cli.study_tables import best_lines, status_lines
from hpo.insight import Insight, insight_of
from hpo.insight.mattered import FEW_TRIALS, MOST_TRIALS
from hpo.insight.series import quality
from hpo.results.evaluation import EvaluationDocument
from hpo.results.reading import StudyView

START = datetime(2026, 1, 1, 12, 0, 0)
SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "batch_size": IntDistribution(3, 100),
    "optimizer": CategoricalDistribution(["adam", "sgd"]),
    "noise": FloatDistribution(-1.0, 2.0),
}


def trial(
    number: int,
    value: float | None = None,
    *,
    state: TrialState = TrialState.COMPLETE,
    params: dict[str, Any] | None = None,
    space: dict[str, BaseDistribution] | None = None,
    steps: int = 0,
    **attributes: Any,
) -> FrozenTrial:
    """It ends at `number` minutes past the start, after ten seconds."""
    made = create_trial(
        state=state,
        value=value,
        params=params or {},
        distributions={name: (space or SPACE)[name] for name in params or {}},
        intermediate_values={step: 0.1 * step for step in range(1, steps + 1)},
        user_attrs={"seed": 1, **attributes},
    )
    made.number = number
    if state.is_finished():
        made.datetime_start = START + timedelta(minutes=number)
        made.datetime_complete = made.datetime_start + timedelta(seconds=10)
    return made


def viewed(*trials: FrozenTrial, **fields: Any) -> StudyView:
    given: dict[str, Any] = {"directions": ("maximize",), "objectives": ("val_accuracy",), "declaration": {}, **fields}
    return StudyView("s", trials=trials, **given)


def answers(*trials: FrozenTrial, **fields: Any) -> Insight:
    return insight_of(viewed(*trials, **fields))


def baseline(value: float, **attributes: Any) -> FrozenTrial:
    return trial(0, value, params={"lr": 1e-3, "batch_size": 64}, origin="baseline", **attributes)


def evaluation(**verdict: Any) -> EvaluationDocument:
    rows = [{"name": "trial 1", "trial": 1, "baseline": False, "params": {}},
            {"name": "trial 0 (baseline)", "trial": 0, "baseline": True, "params": {}}]  # fmt: skip
    made: Any = {"configurations": rows, "winner": "trial 0 (baseline)", "verdict": {"best": "trial 1", **verdict}}
    return made


# The verdict


def test_a_gain_in_the_search_is_called_optimistic() -> None:
    found = answers(baseline(0.90, val_images=1000), trial(1, 0.95, val_images=1000)).verdict
    assert found.optimistic
    assert found.better is None
    assert (found.basis, found.images, found.difference) == ("search", 50, pytest.approx(0.05))
    assert "0.05000 better than the baseline (0.90000)" in found.sentence
    assert "optimistic" in found.sentence


@pytest.mark.parametrize(("images", "tie"), [(5, True), (6, False)])
def test_fewer_images_than_could_mean_anything_are_a_tie(images: int, tie: bool) -> None:
    found = answers(baseline(0.5, val_images=200), trial(1, 0.5 + images / 200, val_images=200)).verdict
    assert (found.tie, found.images, found.one_image) == (tie, images, 1 / 200)
    assert found.sentence.startswith("A tie so far") == tie
    assert (f"{images} of 200 validation images apart (one is worth 0.00500)" in found.sentence) == tie


def test_an_image_has_no_worth_in_a_loss_or_where_the_split_is_not_known() -> None:
    loss = {"directions": ("minimize",), "objectives": ("val_loss",)}
    assert answers(baseline(0.5, val_images=200), trial(1, 0.49, val_images=200), **loss).verdict.one_image is None
    assert answers(baseline(0.5), trial(1, 0.51)).verdict.one_image is None
    assert answers(baseline(0.5, val_images=100), trial(1, 0.51, val_images=200)).verdict.one_image is None


def test_the_baseline_is_never_called_better_than_itself() -> None:
    found = answers(baseline(0.97909), trial(1, 0.9), trial(2, 0.97909))
    assert found.verdict.sentence == (
        "No trial is better than the baseline (trial 0, 0.97909) so far; 1 other trial reaches the same."
    )
    assert found.settings.use == "baseline"
    assert found.settings.tied == (2,)
    assert not any(row.changed for row in found.settings.rows)


def test_a_baseline_that_is_right_everywhere_leaves_nothing_to_search_for() -> None:
    found = answers(baseline(1.0, val_images=115), trial(1, 1.0, val_images=115))
    assert found.steps[0].text.startswith("the baseline has every validation image right")
    assert "right" not in answers(baseline(0.99, val_images=115), trial(1, 1.0, val_images=115)).steps[0].text


def test_trials_that_tie_with_the_best_of_the_search_are_named_without_it_after_an_evaluation_too() -> None:
    """They were those that tie with the evaluated one: trial 0 stood there twice, and trial 1 not at all."""
    document = evaluation(beats_baseline=False, difference=0.0, p=0.9, sentence="Trial 1 does not differ.")
    trials = (baseline(0.9), trial(1, 0.9), trial(2, 0.9))
    view = viewed(*trials, evaluation=document)
    table = best_lines(view, insight_of(view), trials[0])[0]
    console = Console(width=120, file=StringIO())
    console.print(table)
    assert "trial 0, and trials 1, 2 with the same score" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_evaluation_has_the_first_word() -> None:
    """Whatever the search says, and also where its baseline won."""
    document = evaluation(beats_baseline=False, difference=-0.01, p=0.2, sentence="Trial 1 does not differ.")
    found = answers(baseline(0.90), trial(1, 0.95, params={"lr": 1e-2, "batch_size": 64}), evaluation=document)
    assert found.verdict.sentence == "Trial 1 does not differ."
    assert (found.verdict.basis, found.verdict.better, found.verdict.tie) == ("evaluation", False, True)
    assert not found.verdict.optimistic
    assert (found.settings.use, found.settings.trial) == ("baseline", 1)
    assert "keep the baseline" in found.steps[0].text


def test_an_evaluation_that_the_search_has_left_behind_says_so() -> None:
    document = evaluation(beats_baseline=True, difference=0.01, p=0.01, sentence="Trial 1 beats the baseline.")
    found = answers(baseline(0.90), trial(1, 0.95), trial(2, 0.97), evaluation=document)
    assert found.verdict.sentence == (
        "Trial 1 beats the baseline. Trial 2, which the search has found since, was not evaluated."
    )
    assert found.steps[0].command == "evaluate"


def test_smaller_is_better_where_the_evaluation_minimizes() -> None:
    document = evaluation(beats_baseline=True, difference=-0.2, p=0.01, sentence="Trial 1 beats the baseline.")
    document["direction"] = "minimize"
    found = answers(baseline(0.5), trial(1, 0.3), directions=("minimize",), evaluation=document)
    assert found.verdict.difference == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ((), "no trials yet"),
        ((trial(0, state=TrialState.PRUNED, steps=1),), "no complete trial yet"),
        ((trial(0, state=TrialState.FAIL, origin="baseline", failure={"reason": "shape"}),), "no complete trial yet"),
        ((trial(0, math.inf),), "the complete trial does not count: 1 not finite"),
        ((trial(0, 0.5),), "nothing to compare it with: no trial is marked as the baseline"),
        ((trial(0, math.inf, origin="baseline"), trial(1, 0.5)), "its value is not finite"),
    ],
    ids=["none", "pruned", "failed", "infinite", "foreign", "infinite baseline"],
)
def test_studies_without_an_answer_say_why(trials: tuple[FrozenTrial, ...], said: str) -> None:
    found = answers(*trials)
    assert said in found.verdict.sentence
    assert (found.verdict.basis, found.verdict.better) == ("nothing", None)
    json.dumps(found.document(), allow_nan=False)


def test_several_objectives_have_a_front_and_no_winner() -> None:
    trials = []
    for number, values in enumerate([(0.9, 3.0), (0.8, 1.0), (0.7, 2.0)]):
        made = create_trial(values=list(values))
        made.number = number
        trials.append(made)
    found = answers(*trials, directions=("maximize", "minimize"), objectives=("val_accuracy", "latency"))
    assert found.verdict.sentence.startswith("2 trials make the Pareto front of val_accuracy and latency")
    assert found.steps == ()


# Settings


def test_settings_stand_beside_the_baselines_and_say_what_changed() -> None:
    space: dict[str, BaseDistribution] = {
        **SPACE,
        **{f"units_{layer}": IntDistribution(1, 999) for layer in range(2)},
        "momentum": FloatDistribution(0, 1),
    }
    first = trial(0, 0.5, params={"lr": 1e-3, "units_0": 512, "units_1": 512}, space=space, origin="baseline")
    best = trial(1, 0.9, params={"lr": 1e-3, "units_0": 7, "momentum": 0.5}, space=space)
    rows = {row.name: row for row in answers(first, best).settings.rows}
    assert (rows["units"].best, rows["units"].baseline, rows["units"].changed) == ([7], [512, 512], True)
    assert (rows["momentum"].baseline, rows["momentum"].changed) == (None, True)
    assert not rows["lr"].changed


# What mattered


def searched(count: int, *, seed: int = 0, worst: float = 0.0) -> tuple[FrozenTrial, ...]:
    """The learning rate decides most, best near 1e-3; small batches help. Half of the bad are pruned."""
    numbers = random.Random(seed)
    made = []
    for number in range(count):
        params = {
            "lr": 10 ** numbers.uniform(-5, -1),
            "batch_size": numbers.randint(3, 100),
            "optimizer": numbers.choice(["adam", "sgd"]),
            "noise": numbers.uniform(-1, 2),
        }
        value = 0.9 - 0.1 * abs(math.log10(params["lr"]) + 3) - 0.0015 * params["batch_size"] + numbers.gauss(0, 0.01)
        pruned = value < 0.75 and number % 2 == 1
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        made.append(trial(number, None if pruned else max(worst, value), state=state, params=params, steps=4))
    return tuple(made)


@pytest.mark.parametrize("count", [150, 3 * MOST_TRIALS])
def test_what_mattered_is_what_decides(count: int) -> None:
    found = answers(*searched(count)).mattered
    names = [one.name for one in found.parameters]
    assert names[:2] == ["lr", "batch_size"]
    lr, batch = found.parameters[:2]
    assert lr.sure == "sure"
    assert lr.direction == "middle"
    assert all(1e-4 < float(each) < 1e-2 for each in lr.good)
    assert batch.direction == "small"
    assert batch.text.startswith("small, ")
    unclear = {one.name: one.text for one in found.parameters if one.sure == "unclear"}
    assert unclear == dict.fromkeys(("optimizer", "noise"), "no clear effect")


def test_the_best_may_lack_a_parameter_that_matters() -> None:
    """As momentum where another optimizer wins: it has no value to name."""
    numbers = random.Random(0)
    trials = []
    for number in range(90):
        if number % 3:
            params: dict[str, Any] = {"optimizer": "adam"}
            value = 0.9 + 0.01 * numbers.random()
        else:
            params = {"optimizer": "sgd", "noise": numbers.uniform(-1, 2)}
            value = 0.5 + 0.1 * params["noise"]
        space = {name: SPACE[name] for name in params}
        trials.append(trial(number, value, params=params, space=space))
    texts = {one.name: one.text for one in answers(*trials).mattered.parameters}
    assert texts == {"optimizer": "mostly adam", "noise": "without it"}


def test_chance_alone_is_rarely_called_sure() -> None:
    """Of 100 studies in which nothing matters, about five may name a parameter: the test is at 5 %."""
    named = 0
    for seed in range(100):
        values = random.Random(1000 + seed)
        trials = [trial(one.number, values.random(), params=one.params) for one in searched(40, seed=seed)]
        named += any(one.sure != "unclear" for one in answers(*trials).mattered.parameters)
    assert named <= 10


def test_too_few_trials_say_nothing() -> None:
    found = answers(*searched(FEW_TRIALS - 1)).mattered
    assert found.parameters == ()
    assert found.why == "it takes 20 finished trials to say; there are 19"
    assert answers(*searched(FEW_TRIALS)).mattered.parameters
    pruned = (trial(n, state=TrialState.PRUNED, steps=1, params={"lr": 0.1}) for n in range(30))
    assert "it takes 5 complete trials" in answers(*pruned).mattered.why
    same = (trial(n, 0.5, params={"lr": 0.1}) for n in range(30))
    assert answers(*same).mattered.why == "no parameter took more than one value"


def test_an_end_of_a_range_at_which_the_best_lie_is_named() -> None:
    """Only of a parameter that matters, and not where nothing lies beyond."""
    space = {"batch_size": IntDistribution(3, 100), "dropout": FloatDistribution(0.0, 0.9)}
    numbers = random.Random(3)
    trials = []
    for number in range(80):
        params = {"batch_size": numbers.randint(3, 100), "dropout": numbers.uniform(0, 0.9)}
        value = 1 - params["batch_size"] / 100 - params["dropout"]
        trials.append(trial(number, value, params=params, space=space))
    for number in range(80, 90):
        params = {"batch_size": 3, "dropout": 0.0}
        trials.append(trial(number, 1 - 0.03 + 1e-4 * number, params=params, space=space))
    found = answers(*trials)
    assert [(edge.name, edge.side, edge.bound) for edge in found.mattered.edges] == [("batch_size", "low", 3)]
    assert "the best batch_size lie at the low end of their range (3): widen it" in [step.text for step in found.steps]


@pytest.mark.parametrize("value", [math.nan, -1.0, "text", 10**400], ids=ascii)
def test_a_value_that_fits_no_scale_costs_no_answer(value: Any) -> None:
    trials = searched(30)
    trials[5].params["lr"] = value
    assert answers(*trials).mattered.parameters


def test_sixty_parameters_and_names_of_any_script() -> None:
    numbers = random.Random(0)
    names = [*(f"p{index}x" for index in range(58)), "学" * 200, "\x1b[31m"]
    space: dict[str, BaseDistribution] = {name: FloatDistribution(0, 1) for name in names}
    trials = [
        trial(number, numbers.random(), params={name: numbers.random() for name in names}, space=space)
        for number in range(25)
    ]
    assert len(answers(*trials).mattered.parameters) == 60


# Cost, pace, advice


def test_a_shared_gpu_counts_once_and_cpus_add_up() -> None:
    gpu = [trial(n, 0.5, device="cuda:0", host="a", seconds=10.0) for n in (0, 0)]
    assert answers(*gpu).cost.seconds == {"GPU": 10.0}
    assert answers(*gpu, trial(1, 0.5, device="cuda:1", host="a", seconds=10.0)).cost.seconds == {"GPU": 20.0}
    cpu = [trial(n, 0.5, device="cpu", seconds=10.0) for n in (0, 0)]
    assert answers(*cpu).cost.text == "20s of CPU time"


def test_the_rate_leaves_pauses_out() -> None:
    """A trial a minute, a night between."""
    trials = [trial(number, 0.5) for number in range(10)]
    late = [trial(number + 600, 0.5) for number in range(10)]
    assert answers(*trials, *late).pace.trials_per_hour == pytest.approx(60)
    assert answers(*trials[:2]).pace.trials_per_hour is None
    found = answers(*trials, trials_target=40).pace
    assert (found.seconds_left, found.trials_left) == (pytest.approx(1800), 30)


def test_the_last_gain_is_counted_in_trials() -> None:
    values = [0.5, 0.7, 0.6, 0.7, 0.65]
    pace = answers(*(trial(number, value) for number, value in enumerate(values))).pace
    assert pace.last_gain is not None
    assert (pace.last_gain.trial, pace.trials_since) == (1, 3)


def test_the_next_step_fits_the_study() -> None:
    def first(*trials: FrozenTrial, **fields: Any) -> str:
        return answers(*trials, **fields).steps[0].command

    assert first() == "run"
    assert first(trial(0, state=TrialState.FAIL, origin="baseline", failure={"reason": "x"})) == "trials --state failed"
    assert first(baseline(0.5), *(trial(n, 0.9 - n / 100) for n in range(1, 9))) == "evaluate"
    rising = [trial(n, 0.5 + n / 100) for n in range(1, 9)]
    assert first(baseline(0.5), *rising) == "run"
    assert answers(baseline(0.5), trial(1, 0.9), trial(2, state=TrialState.RUNNING)).steps == ()
    assert "other seeds" in answers(trial(0, 0.5), trial(1, 0.9), declaration=None).steps[0].text
    by_function = {"(function)": "train:train", "(epochs)": "6"}
    last = answers(trial(0, 0.5), trial(1, 0.9), declaration=by_function).steps[-1]
    assert last.text.endswith("never saw, where the study gives final=")


def test_two_trials_of_one_number_are_told_apart() -> None:
    """Somebody may give a trial a number that another has: one of them is complete, and the other has no value."""
    best, failed = trial(1, 0.9), trial(1, state=TrialState.FAIL)
    assert answers(baseline(0.5), best, failed).settings.trial == 1
    assert quality([failed, best], "maximize") == {1: (2.0, 0.0, 0.9)}


def test_a_stopped_study_says_so_and_how_to_go_on() -> None:
    """A stop sets the deadline to now, and "time is up" sent people to look for the limit that they had given."""
    view = viewed(trial(0, 0.5), deadline=datetime(2026, 1, 1, tzinfo=UTC), seconds_left=-5.0, stopped=True)
    insight, said = insight_of(view), rendered(view)
    assert "stopped in a dashboard" in said
    assert "time is up" not in said
    assert "`hpo run` goes on where its trials stopped" in said
    assert insight.steps[0].command == "run"
    assert [step.text for step in insight_of(viewed(stopped=True)).steps] == [insight.steps[0].text]
    assert "time is up" in rendered(replace(view, stopped=False))


def rendered(view: StudyView) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(status_lines(view, insight_of(view), []))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]
