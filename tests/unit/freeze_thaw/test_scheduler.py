"""Which trial trains next: a paused one or a new one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo import Categorical, Float, Int, Prior
from hpo.freeze_thaw.progress import Decision, Progress
from hpo.freeze_thaw.scheduler import Scheduler, _log_gain
from hpo.study.space import Space

SPACE = Space(
    {
        "lr": Float(1e-4, 1.0, log=True),
        "layers": Int(1, 3),
        "units": Int(8, 64, log=True).per("layers"),
        "optimizer": Categorical("adam", "sgd", "lamb"),
        "momentum": Float(0.0, 0.99).when(optimizer="sgd"),
    }
)
EPOCHS = 20


def params(lr: float = 0.01, **others: Any) -> dict[str, Any]:
    return {"lr": lr, "layers": 1, "units_0": 32, "optimizer": "adam", **others}


def curve(end: float, length: int) -> tuple[float, ...]:
    return tuple(end * (1.0 - math.exp(-epoch / 4.0)) for epoch in range(1, length + 1))


def trial(number: int, values: tuple[float, ...], lr: float = 0.01, **state: Any) -> Progress:
    return Progress(number, params(lr), values, seconds=2.0 if values else math.nan, **state)


def decide(trials: list[Progress], seed: int = 0, *, epochs: int = EPOCHS, maximize: bool = True) -> Decision:
    return Scheduler(SPACE, epochs, maximize=maximize).decide(trials, np.random.default_rng(seed))


def chosen(trials: list[Progress], *, maximize: bool = True) -> Counter[int | None]:
    """How often each goes on, of thirty decisions; None for a new one."""
    scheduler = Scheduler(SPACE, EPOCHS, maximize=maximize)
    return Counter(scheduler.decide(trials, np.random.default_rng(seed)).number for seed in range(30))


def test_what_waits_for_its_first_epoch_comes_first() -> None:
    for others in ([], [trial(5, curve(0.9, 4))], [trial(5, curve(0.9, 4), until=8)]):
        decision = decide([*others, Progress(7, params())])
        assert (decision.number, decision.params, decision.belief) == (7, params(), None)
        assert 1 <= decision.until <= EPOCHS


def test_a_study_without_a_value_draws_a_configuration() -> None:
    for trials in ([], [Progress(0, params(), until=2)], [Progress(0, params(), ended=True, infeasible=True)]):
        decision = decide(trials)
        assert decision.number is None
        assert SPACE.configuration(decision.params)


def test_of_two_that_wait_the_better_one_goes_on() -> None:
    trials = [trial(0, curve(0.5, 10)), trial(1, curve(0.9, 10)), trial(2, curve(0.3, 10))]
    counts = chosen(trials)
    assert counts[1] > counts[0] + counts[2]


def test_a_loss_is_better_when_it_is_lower() -> None:
    falling = [tuple(1.0 - value for value in curve(end, 10)) for end in (0.5, 0.9, 0.3)]
    counts = chosen([trial(number, values) for number, values in enumerate(falling)], maximize=False)
    assert counts[1] > counts[0] + counts[2]


def test_what_trains_or_has_ended_is_never_given_out() -> None:
    trials = [
        trial(0, curve(0.95, 5), until=10),
        trial(1, curve(0.9, EPOCHS), ended=True),
        trial(2, curve(0.9, 3), ended=True, infeasible=True),
        trial(3, curve(0.5, 3)),
    ]
    assert chosen(trials).keys() <= {3, None}


def test_a_decision_goes_further_and_no_further_than_the_end() -> None:
    scheduler = Scheduler(SPACE, EPOCHS, maximize=True)
    for length in range(1, EPOCHS):
        trials = [trial(0, curve(0.9, length)), trial(1, curve(0.2, 2), 0.5)]
        decision = scheduler.decide(trials, np.random.default_rng(length))
        stands = 0 if decision.number is None else len(trials[decision.number].values)
        assert stands < decision.until <= EPOCHS


def test_a_belief_says_why() -> None:
    trials = [trial(number, curve(0.5 + 0.05 * number, 6), 10.0**-number) for number in range(4)]
    belief = decide(trials).belief
    assert belief is not None
    assert 0.0 <= belief.chance <= 1.0
    assert 1 <= belief.epoch <= EPOCHS
    assert belief.goal > max(trials[3].values)
    assert belief.seconds > 0.0
    assert belief.spread > 0.0
    assert math.isfinite(belief.expected)
    assert belief.rivals > 100


def test_the_same_trials_and_numbers_decide_the_same() -> None:
    trials = [trial(number, curve(0.2 * number, 3 + number), 10.0**-number) for number in range(4)]
    assert decide(trials, 3) == decide(trials, 3)


def test_what_runs_out_of_memory_is_avoided() -> None:
    draw = np.random.default_rng(0)
    trials = []
    for number in range(40):
        place = draw.random()
        lr = 10.0 ** (-4.0 * (1.0 - place))
        if place > 0.6:
            trials.append(Progress(number, params(lr), ended=True, infeasible=True))
        else:  # and the best are next to where the memory ends
            trials.append(trial(number, curve(0.3 + place, EPOCHS), lr, ended=True))
    scheduler = Scheduler(SPACE, EPOCHS, maximize=True)
    proposed = [scheduler.decide(trials, np.random.default_rng(seed)).params["lr"] for seed in range(20)]
    assert sum(lr > 10.0 ** (-4.0 * (1.0 - 0.7)) for lr in proposed) <= 3


def test_of_two_as_good_the_quicker_one_goes_on() -> None:
    ended = [trial(number, curve(0.3, EPOCHS), 10.0 ** -(number / 5.0), ended=True) for number in range(2, 20)]
    both = [trial(0, curve(0.8, 10), 0.1), trial(1, curve(0.8, 10), 0.001)]
    for slow, quick in ((0, 1), (1, 0)):
        trials = [replace(each, seconds=30.0 if each.number == slow else 1.0) for each in both]
        counts = chosen([*trials, *ended])
        assert counts[quick] > 2 * counts[slow]


CURVES: dict[str, Callable[[int], tuple[float, ...]]] = {
    "falls": lambda n: tuple(0.9 - 0.04 * epoch for epoch in range(n)),
    "jumps": lambda n: tuple(0.1 if epoch < n - 1 else 0.95 for epoch in range(n)),
    "flat": lambda n: (0.1,) * n,
    "nan": lambda n: (math.nan,) * n,
    "ends in nan": lambda n: (*curve(0.7, n)[:-1], math.nan),
    "infinite": lambda n: (*curve(0.7, n)[:-1], -math.inf),
    "explodes": lambda n: (*curve(0.7, n)[:-1], -1e30),
    "alternates": lambda n: tuple(float(epoch % 2) for epoch in range(n)),
}


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [5, 1, 12, 20, 3, 3, 7, 2, 9, 1, 4]], ids=str)
def test_every_curve_leads_to_a_decision(kind: str, lengths: list[int]) -> None:
    trials = [trial(number, CURVES[kind](length), 10.0 ** -(number % 4)) for number, length in enumerate(lengths)]
    for others in ([], [trial(50, curve(0.8, 4), 0.3)]):
        decision = decide([*trials, *others])
        assert SPACE.configuration(decision.params)
        assert 1 <= decision.until <= EPOCHS


def test_a_study_of_one_epoch_always_begins_a_new_trial() -> None:
    trials = [trial(number, (0.1 * number,), 10.0**-number, ended=True) for number in range(4)]
    decision = decide(trials, epochs=1)
    assert (decision.number, decision.until) == (None, 1)


def test_a_curve_longer_than_the_study_now_has_epochs_is_no_obstacle() -> None:
    decision = decide([trial(0, curve(0.9, 30), ended=True), trial(1, curve(0.4, 8))], epochs=10)
    assert decision.until <= 10


def test_gains_are_told_apart_however_far_the_goal_is() -> None:
    away = np.array([-30.0, -1.0, 0.0, 4.999, 5.001, 8.0, 40.0, 1000.0])
    gains = _log_gain(away)
    assert np.isfinite(gains).all()
    assert (np.diff(gains) < 0.0).all()
    assert gains[2] == pytest.approx(math.log(1.0 / math.sqrt(2.0 * math.pi)))
    assert gains[3] == pytest.approx(gains[4], abs=0.03)


def test_ten_thousand_trials_are_decided_about() -> None:
    draw = np.random.default_rng(0)
    trials = [
        trial(number, curve(float(draw.random()), int(draw.integers(1, 8))), 10.0 ** -draw.uniform(0, 4))
        for number in range(10_000)
    ]
    assert decide(trials).until <= EPOCHS


def test_new_configurations_come_near_the_best() -> None:
    """A search on a curve that one row decides ends near its best place, from where evenly drawn ones are far."""
    draw = np.random.default_rng(0)
    scheduler = Scheduler(SPACE, EPOCHS, maximize=True)
    trials: list[Progress] = [Progress(0, params(1e-4))]
    for _ in range(100):
        decision = scheduler.decide(trials, draw)
        number = decision.number if decision.number is not None else len(trials)
        end = 0.9 - 0.2 * abs(math.log10(decision.params["lr"]) + 2.0)
        seen = Progress(number, decision.params, curve(end, decision.until), 1.0, ended=decision.until == EPOCHS)
        trials = [*trials[:number], seen, *trials[number + 1 :]]
    best = max(trials, key=lambda each: max(each.values, default=0.0))
    assert 0.004 < best.params["lr"] < 0.025
    assert len(best.values) >= EPOCHS / 2


def test_a_number_that_another_trial_gets_after_all_is_that_trial() -> None:
    """A host plans trial 3 for its next slot, and another host is first to begin a trial of that number."""
    scheduler, draw = Scheduler(SPACE, EPOCHS, maximize=True), np.random.default_rng(0)
    trials = [trial(number, curve(0.3, EPOCHS), 10.0 ** -(number + 1), ended=True) for number in range(3)]
    scheduler.decide([*trials, Progress(3, params(1e-4), until=3)], draw)
    seen = [*trials, trial(3, curve(0.9, 5), 1.0)]
    fresh = Scheduler(SPACE, EPOCHS, maximize=True)
    fresh.decide(seen, np.random.default_rng(1))
    scheduler.decide(seen, np.random.default_rng(1))
    assert np.array_equal(scheduler._points[3], fresh._points[3])


def test_without_time_for_its_end_nothing_is_begun_and_the_best_goes_to_its_end_in_time() -> None:
    trials = [trial(0, curve(0.5, EPOCHS), ended=True), trial(1, curve(0.9, 15), 0.02), trial(2, curve(0.7, 2), 0.3)]

    def left(seconds: float) -> Decision | None:  # an epoch takes two
        return Scheduler(SPACE, EPOCHS, maximize=True).decide(trials, np.random.default_rng(0), seconds_left=seconds)

    last_call = left(12.0)
    assert last_call is not None
    assert (last_call.number, last_call.until) == (1, EPOCHS)
    assert left(9.0) is None
    plenty = left(1000.0)
    assert plenty is not None
    assert plenty.belief is not None


def test_where_none_may_begin_paused_ones_go_on_while_they_may_become_the_best() -> None:
    ended = [trial(number, curve(0.9, EPOCHS), 10.0 ** -(number / 9.0), ended=True) for number in range(10)]
    hopeless, hopeful = trial(20, curve(0.2, 15), 0.5), trial(21, curve(0.95, 10), 0.02)

    def chosen_of(trials: list[Progress]) -> int | None:
        scheduler = Scheduler(SPACE, EPOCHS, maximize=True)
        decision = scheduler.decide(trials, np.random.default_rng(0), may_begin=False)
        return None if decision is None else decision.number

    assert chosen_of([*ended, hopeless, hopeful]) == 21
    assert chosen_of([*ended, hopeless]) is None
    assert chosen_of([Progress(0, params(), ended=True, infeasible=True)]) is None
    assert chosen_of([trial(0, (math.nan,) * 3), trial(1, (math.nan,), ended=True)]) == 0


def test_a_trial_whose_values_broke_a_limit_is_not_the_one_to_beat() -> None:
    broken = trial(0, curve(0.99, EPOCHS), 0.5, ended=True, infeasible=True)
    belief = decide(
        [broken, *(trial(n, curve(0.5 + n / 50, EPOCHS), 10.0**-n, ended=True) for n in range(1, 5))]
    ).belief
    assert belief is not None
    assert belief.goal < 0.8


def new_rates(prior: Any, begun: int) -> list[float]:
    """The learning rates of new trials in sixty decisions of a study in which so many trials have ended alike."""
    space = Space({"lr": Float(1e-4, 1.0, log=True, **({} if prior is None else {"prior": prior}))})
    scheduler = Scheduler(space, EPOCHS, maximize=True)
    values = curve(0.5, EPOCHS)
    trials = [
        Progress(number, {"lr": 10 ** (-4 + 4 * number / max(begun - 1, 1))}, values, seconds=1.0, ended=True)
        for number in range(begun)
    ]
    return [scheduler.decide(trials, np.random.default_rng(seed)).params["lr"] for seed in range(60)]


def test_what_the_user_believes_is_tried_first_and_counts_less_with_every_trial() -> None:
    near = Prior(0.03, confidence=0.9)
    without, first, early, late = (
        sum(0.01 < lr < 0.1 for lr in new_rates(prior, begun)) / 60
        for prior, begun in ((None, 2), (near, 0), (near, 2), (near, 60))
    )
    assert first > 0.6
    assert early > without + 0.2
    assert early > late + 0.1
