"""Trials of several seeds: what their noise is, and which of them cannot win any more."""

from __future__ import annotations

import math
import random
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo import Float, FreezeThaw, MedianPruner, NoPruner, Study
from hpo.errors import StudyError
from hpo.sampling.pruning import make_pruner
from hpo.storage.seed_noise import noise_between_repeats, noise_within_trials, values_of_seeds
from hpo.storage.study_cache import StudyCache


def declared(direction: str = "maximize", **changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "s", "dataset": "digits", "model": "shallow", "baseline": {"lr": 0.01}, "pruner": NoPruner(),
        "space": {"batch_size": 64, "hidden_units": 16, "lr": Float(1e-3, 1e-1)}, "seeds": 3,
        "objective": "val_accuracy" if direction == "maximize" else "val_loss",
    }  # fmt: skip
    return Study(**(fields | changes))


def trial(number: int, seeds: list[float], state: TrialState = TrialState.COMPLETE, lr: float = 0.5) -> FrozenTrial:
    """One whose seeds came to these values: it reports their running mean."""
    means = {count: sum(seeds[:count]) / count for count in range(1, len(seeds) + 1)}
    complete = state is TrialState.COMPLETE
    made = create_trial(state=state, value=means[len(seeds)] if complete else None, intermediate_values=means)
    made.number = made._trial_id = number
    made.params = {"lr": lr}
    return made


def drops(direction: str, past: list[FrozenTrial], running: FrozenTrial, **changes: Any) -> bool:
    study = declared(direction, **changes)
    cache = StudyCache(0, "s", (StudyDirection[direction.upper()],))
    cache.apply([*past, running])
    view = optuna.Study(study_name="s", storage=cache)
    return make_pruner(study, cache, 1).prune(view, running)


def test_the_values_of_seeds_are_those_whose_means_were_reported() -> None:
    assert values_of_seeds(trial(0, [0.5, 0.7, 0.3]).intermediate_values) == pytest.approx([0.5, 0.7, 0.3])
    assert values_of_seeds({1: 0.5, 3: 0.5}) == []
    assert values_of_seeds({1: 0.5, 2: math.nan}) == []


def test_noise_is_pooled_over_trials_of_several_seeds_and_over_trials_of_one_configuration() -> None:
    trials = [
        trial(0, [0.1, 0.3]),
        trial(1, [0.9, 0.9, 0.9]),
        trial(2, [0.5]),
        trial(3, [math.nan, 1.0], TrialState.PRUNED),
    ]
    found = noise_within_trials(trials)
    assert found is not None
    assert (found.deviation, found.freedom) == (pytest.approx(math.sqrt(0.02 / 3)), 3)
    assert noise_within_trials([trial(0, [0.5])]) is None
    same = [trial(n, [value], lr=0.25) for n, value in enumerate((0.1, 0.3))]
    between = noise_between_repeats([*same, trial(5, [0.9], lr=0.5)])
    assert between is not None
    assert (between.deviation, between.freedom) == (pytest.approx(math.sqrt(0.02)), 1)
    short = [trial(n, values, TrialState.PRUNED) for n, values in enumerate(([0.4, 0.4], [0.6]))]
    cut = noise_between_repeats(short)
    assert cut is not None
    assert cut.deviation == pytest.approx(math.sqrt(0.02)), "at the last step that both have"
    assert noise_between_repeats([trial(0, [0.5]), trial(1, [0.5], lr=0.1)]) is None


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1), ("minimize", -1)])
def test_a_trial_ends_once_its_first_seeds_leave_it_no_chance(direction: str, sign: int) -> None:
    past = [trial(n, [sign * (0.5 + d) for d in (-0.01, 0.0, 0.01)]) for n in range(2)]
    assert drops(direction, past, trial(9, [sign * 0.4], TrialState.RUNNING))
    assert not drops(direction, past, trial(9, [sign * 0.49], TrialState.RUNNING))
    assert not drops(direction, past, trial(9, [sign * 0.6], TrialState.RUNNING))
    assert drops(direction, past, trial(9, [sign * math.nan], TrialState.RUNNING))
    assert not drops(direction, past, trial(9, [sign * 0.1] * 3, TrialState.RUNNING)), "its last seed has ended"


def test_nobody_is_dropped_while_the_noise_is_not_known_and_the_studys_pruner_is_asked_too() -> None:
    one = [trial(0, [0.5, 0.5])]
    assert not drops("maximize", one, trial(9, [0.1], TrialState.RUNNING))
    many = [trial(n, [0.5, 0.5, 0.5]) for n in range(6)]
    worse = trial(9, [0.5, 0.4999], TrialState.RUNNING)
    assert drops("maximize", many, worse), "seeds that never differ leave no chance"
    noisy = [trial(n, [0.3, 0.5, 0.7]) for n in range(6)]
    below = trial(9, [0.29, 0.45], TrialState.RUNNING)
    assert not drops("maximize", noisy, below)
    assert drops("maximize", noisy, below, pruner=MedianPruner(warmup_epochs=0))


def test_of_configurations_as_good_as_the_best_few_are_lost_and_of_bad_ones_few_seeds_are_trained() -> None:
    """500 races against a best of 0.5, seeds with a deviation of 0.02: dropped after one or two of three."""
    draw = random.Random(0)
    past = [trial(n, [0.5 + draw.gauss(0, 0.02) for _ in range(3)]) for n in range(10)]
    best = max(each.values[0] for each in past)

    def dropped(middle: float) -> int:
        count = 0
        for _ in range(500):
            seeds = [middle + draw.gauss(0, 0.02) for _ in range(3)]
            count += any(drops("maximize", past, trial(99, seeds[:k], TrialState.RUNNING)) for k in (1, 2))
        return count

    assert dropped(best + 0.02) < 25
    assert dropped(best - 0.1) > 490


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seeds": 1}, "whole number from 2 to 100"),
        ({"seeds": True}, "whole number from 2 to 100"),
        ({"seeds": 3, "folds": 3}, "both means over trainings"),
        ({"search": FreezeThaw()}, "with seeds= a trial reports only when a seed has ended"),
    ],
)
def test_seeds_that_cannot_be_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError, match=words):
        declared(**fields)


def test_seeds_belong_to_the_table_and_not_to_training_of_ones_own() -> None:
    assert declared().declaration()["(seeds)"] == "3"
    assert declared().protocol().seeds == 3
    own = {"name": "o", "train": "m:f", "space": {"lr": Float(0, 1)}, "baseline": {"lr": 0.1}, "objective": "acc"}
    with pytest.raises(StudyError, match="trains by itself, so seeds=3 has no meaning"):
        Study(**own, direction="maximize", seeds=3)  # type: ignore[arg-type]
