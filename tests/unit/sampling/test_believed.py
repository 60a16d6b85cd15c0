"""What the user believes of rows is proposed in a share of trials that fades, whatever sampler proposes the others."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection

from hpo import TPE, Categorical, CmaEs, Fixed, Float, Int, Prior, Random, Study
from hpo.sampling.choose import Sampling
from hpo.sampling.distributions import suggest
from hpo.storage.queries import Claim
from hpo.storage.study_cache import StudyCache

PLAIN: dict[str, Any] = {
    "batch_size": Int(8, 64),
    "layers": Int(1, 2),
    "hidden_units": Int(8, 32).per("layers"),
    "optimizer": Categorical("adam", "sgd"),
    "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
    "lr": Float(1e-4, 1e-1, log=True),
}
SURE = {
    "lr": Float(1e-4, 1e-1, log=True, prior=Prior(1e-1, 0.99)),
    "hidden_units": Int(8, 32, prior=Prior(8, 0.99)).per("layers"),
}
BASELINE = {"batch_size": 32, "layers": 1, "hidden_units": [16], "optimizer": "adam", "lr": 1e-2}


def proposed(numbers: range, sampler: Any = None, again: int = 0, **rows: Any) -> list[dict[str, Any]]:
    """What each of these trials, of a study that has none yet, gets."""
    study = Study(
        name="s", dataset="digits", model="mlp", space=PLAIN | rows, baseline=BASELINE, sampler=sampler or TPE()
    )
    cache = StudyCache(0, "s", (StudyDirection.MAXIMIZE,))
    sampling = Sampling(study, cache)
    found = []
    for number in numbers:
        cache.start(Claim(number, number, 1, None, True))
        view = optuna.Study(study_name="s", storage=cache, sampler=sampling.sampler(number, again))
        trial = optuna.trial.Trial(view, number)
        study.rows.sample(lambda name, row, trial=trial: suggest(trial, name, row))  # type: ignore[misc]
        found.append(dict(trial.params))
    return found


def shares(sampler: Any) -> list[float]:
    """How many proposals follow the belief, at the beginning and after five thousand trials."""
    return [
        sum(params["lr"] > 2e-2 and params["hidden_units_0"] < 14 for params in proposed(numbers, sampler, **SURE))
        / 100
        for numbers in (range(100), range(5000, 5100))
    ]


@pytest.mark.parametrize(
    "sampler", [TPE(startup_trials=1000), Random(), CmaEs(), Fixed({"batch_size": 9}, Random())], ids=str
)
def test_every_sampler_leaves_a_share_of_trials_to_the_beliefs_and_more_at_first(sampler: Any) -> None:
    """3 of 10 at first and 12 of the first hundred, of which nearly all lie there; of the others 6 in 100 do."""
    early, late = shares(sampler)
    assert early > 0.115 > late


def test_where_nothing_is_believed_every_proposal_is_the_samplers_bit_for_bit() -> None:
    believed, plain = (proposed(range(60), **rows) for rows in (SURE, {}))
    same = [one == other for one, other in zip(believed, plain, strict=True)]
    assert 0 < same.count(False) < 30
    study = Study(name="s", dataset="digits", model="mlp", space=PLAIN, baseline=BASELINE)
    assert type(Sampling(study, StudyCache(0, "s", (StudyDirection.MAXIMIZE,))).sampler(0)).__name__ == "ColumnTPE"


def test_a_trial_gets_the_same_again_and_something_else_when_it_is_asked_once_more() -> None:
    first, second, other = (proposed(range(30), again=again, **SURE) for again in (0, 0, 1))
    assert first == second
    assert all(one["lr"] != another["lr"] for one, another in zip(first, other, strict=True))


def test_what_is_fixed_stays_whatever_is_believed() -> None:
    assert {params["lr"] for params in proposed(range(30), Fixed({"lr": 1e-3}, Random()), **SURE)} == {1e-3}
