"""Whether more time would help, on made-up searches whose next trials are known."""

from __future__ import annotations

import random
from statistics import fmean
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo import Converged, Float, Grid, Objective, Study
from hpo.errors import StudyError
from hpo.insight.outlook import expected_gain, outlook_of
from hpo.search.converging import Converging
from hpo.storage.study_cache import StudyCache


def trial(number: int, value: float | None, lr: float | None = None, **reports: Any) -> FrozenTrial:
    """value None: pruned"""
    complete = value is not None
    made = create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        value=value,
        intermediate_values=reports.get("at", {}),
    )
    made.number = made._trial_id = number
    made.params = {"lr": 0.001 * number if lr is None else lr}
    return made


def search(values: list[float | None], repeats: tuple[float, ...] = ()) -> list[FrozenTrial]:
    """The baseline, trained again as often as there are `repeats`, and then trials with these values."""
    first = [trial(number, value, lr=5.0) for number, value in enumerate(repeats)]
    return [*first, *(trial(len(first) + number, value) for number, value in enumerate(values))]


DRAWS: list[Any] = [
    lambda d: d.gauss(0, 1),
    lambda d: d.expovariate(1),
    lambda d: d.random(),
    lambda d: -sum(d.gauss(0, 1) ** 2 for _ in range(3)),
]


@pytest.mark.parametrize("kind", range(len(DRAWS)), ids=["normal", "exponential", "uniform", "bounded"])
def test_the_gain_of_as_many_draws_is_about_what_they_give(kind: int) -> None:
    """300 times: within a factor of 2 of the truth at the mean, for tails from heavy to bounded."""
    draw, told, given = random.Random(kind), [], []
    for _ in range(300):
        past = sorted((DRAWS[kind](draw) for _ in range(60)), reverse=True)
        told.append(expected_gain(past, 60, past[0]))
        given.append(max(0.0, max(DRAWS[kind](draw) for _ in range(60)) - past[0]))
    assert 0.5 < fmean(told) / fmean(given) < 2.0


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_search_whose_best_is_out_of_reach_has_nothing_to_gain_and_one_that_climbs_has(direction: str) -> None:
    sign = 1.0 if direction == "maximize" else -1.0
    draw = random.Random(0)
    far = search([0.99 * sign, *(sign * (0.8 + draw.gauss(0, 0.01)) for _ in range(60))])
    found = outlook_of(far, direction, noise=0.002)
    assert found is not None
    assert (found.trials, found.more) == (61, 30)
    assert found.gain < 1e-4
    assert found.converged
    assert "more time would hardly help: 30 more trials would gain next to nothing, and" in found.text
    climbs = search([sign * (0.8 + 0.002 * n) for n in range(60)])
    found = outlook_of(climbs, direction, noise=0.002)
    assert found is not None
    assert found.gain == pytest.approx(0.06)
    assert not found.converged
    assert "more time would likely help" in found.text


def test_pruned_trials_count_as_draws_below_all_others() -> None:
    complete = [0.5 + 0.001 * n for n in range(40)]
    alone = outlook_of(search(complete), "maximize")
    beside = outlook_of(search([value for each in complete for value in (each, None)]), "maximize")
    assert alone is not None
    assert beside is not None
    assert beside.more == 40
    assert 0.0 < alone.gain == pytest.approx(beside.gain), "what the last half gained"


def test_nothing_is_said_of_a_short_search_or_one_that_completed_hardly_any_trial() -> None:
    assert outlook_of(search([0.5 + 0.01 * n for n in range(19)]), "maximize") is None
    assert outlook_of(search([0.9, *[None] * 40]), "maximize") is None
    equal = outlook_of(search([0.5] * 30), "maximize", noise=0.001)
    assert equal is not None
    assert equal.gain == 0.0


def test_the_noise_is_that_of_a_configuration_that_was_trained_again_or_of_seeds_within_trials() -> None:
    values: list[float | None] = [0.8 + 0.001 * n for n in range(30)]
    assert outlook_of(search(values), "maximize").noise is None  # type: ignore[union-attr]
    repeated = outlook_of(search(values, (0.70, 0.72, 0.74)), "maximize")
    assert repeated is not None
    assert repeated.noise == pytest.approx(0.02)
    seeded = [trial(n, 0.8 + 0.001 * n, at={1: 0.79 + 0.001 * n, 2: 0.8 + 0.001 * n}) for n in range(30)]
    within = outlook_of(seeded, "maximize", seeds=True)
    assert within is not None
    assert within.noise == pytest.approx(0.01), "of the mean of two: 0.0141 of one, by the root of two"


def converging(stop: Converged, trials: list[FrozenTrial]) -> tuple[bool, str]:
    study = Study(name="s", dataset="digits", model="shallow", baseline={"lr": 0.01}, stop=stop,
                  space={"batch_size": 64, "hidden_units": 16, "lr": Float(0.0001, 9)})  # fmt: skip
    cache = StudyCache(0, "s", (StudyDirection.MAXIMIZE,))
    cache.apply(trials)
    judge = Converging(study, cache)
    first = judge.reached()
    assert judge.reached() is first, "it stays so"
    note = judge.take_note()
    assert judge.take_note() == ""
    return first, note


def test_a_study_ends_once_it_has_converged_and_says_why() -> None:
    draw = random.Random(0)
    flat = [0.9, *(0.8 + draw.gauss(0, 0.01) for _ in range(60))]
    reached, note = converging(Converged(), search([*flat], (0.70, 0.72, 0.74)))
    assert reached
    said = "the search has converged after 64 trials; more time would hardly help: 32 more trials would gain next "
    assert note.startswith(said)
    assert "differ by 0.02000" in note
    assert converging(Converged(trials=65), search([*flat], (0.70, 0.72, 0.74))) == (False, "")
    climbing = [0.7 + 0.01 * n for n in range(30)]
    assert converging(Converged(noise=0.001), search([*climbing])) == (False, "")
    reached, note = converging(Converged(), search([*flat]))
    assert not reached
    assert note.startswith("Converged() cannot tell when to end")


def own(direction: Any = "maximize", **fields: Any) -> Study:
    return Study(name="o", objective=Objective("m:f", direction=direction), **fields)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Converged(noise=0.0), "must be a positive number"),
        (lambda: Converged(repeats=2), "repeats"),
        (lambda: Converged(trials=5), "trials"),
        (lambda: own(stop=Converged()), "how far seeds differ"),
        (lambda: own(stop=Converged), "stop=Converged"),
        (lambda: own(("minimize", "minimize"), stop=Converged(noise=1.0)), "goes by one objective"),
        (lambda: Study(name="s", dataset="digits", model="shallow", baseline={"lr": 0.5}, sampler=Grid(),
                       space={"batch_size": 64, "hidden_units": 16, "lr": Float(0.5, 1, step=0.5)}, stop=Converged()),
         "ends after the last combination"),
    ],
)  # fmt: skip
def test_what_converged_cannot_go_by_is_refused(made: Any, words: str) -> None:
    with pytest.raises(StudyError) as caught:
        made()
    assert words in f"{caught.value} {caught.value.next}"
