"""The search space: what rows mean, and which tables are refused."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.errors import StudyError
from hpo.sampling.distributions import distribution, suggest
from hpo.study.space import Categorical, Float, Int, Space

ROWS: dict[str, Any] = {
    "layers": Int(2, 4),
    "hidden_units": Int(200, 1000).per("layers"),
    "optimizer": Categorical("adam", "sgd"),
    "momentum": Float(0.0, 0.99).when(optimizer="sgd"),
    "lr": Float(1e-5, 1e-1, log=True),
    "schedule": "cosine",
}


def test_a_configuration_has_one_value_per_layer_and_only_active_rows() -> None:
    space = Space(ROWS)
    params = {"layers": 2, "hidden_units_0": 300, "hidden_units_1": 400, "optimizer": "adam", "lr": 0.1}
    assert space.configuration(params) == {
        "layers": 2, "hidden_units": [300, 400], "optimizer": "adam", "lr": 0.1, "schedule": "cosine",
    }  # fmt: skip
    assert "momentum" in space.configuration({**params, "optimizer": "sgd", "momentum": 0.5})


def test_rows_may_be_written_before_those_they_depend_on() -> None:
    space = Space({"momentum": Float(0, 0.9).when(optimizer="sgd"), "optimizer": Categorical("adam", "sgd")})
    assert space.order == ("optimizer", "momentum")


def test_a_condition_holds_only_while_the_row_it_names_is_active() -> None:
    space = Space(
        {
            "a": Categorical("x", "y"),
            "b": Categorical("p", "q").when(a="x"),
            "c": Int(1, 2).when(b="p"),
        }
    )
    assert space.sample(lambda name, row: {"a": "y"}.get(name, row.ends()[0])) == {"a": "y"}


def test_parameters_and_configuration_are_inverse() -> None:
    space = Space(ROWS)
    config = {"layers": 3, "hidden_units": [200, 300, 400], "optimizer": "sgd", "momentum": 0.5, "lr": 1e-3}
    params = space.parameters(config, what="the baseline")
    assert space.configuration(params) == {**config, "schedule": "cosine"}


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"layers": 9}, "layers=9, outside"),
        ({"lr": 1.0}, "lr=1.0, outside"),
        ({"hidden_units": [200]}, "one value for each of layers=2"),
        ({"momentum": 0.5}, "not active"),
        ({"learning_rate": 0.1}, "no row"),
        ({"schedule": "step"}, "fixed to 'cosine'"),
        ({"optimizer": None}, "outside"),
    ],
)
def test_a_baseline_that_does_not_fit_is_refused_naming_the_row(config: dict[str, Any], complaint: str) -> None:
    good = {"layers": 2, "hidden_units": [200, 300], "optimizer": "adam", "lr": 1e-3}
    with pytest.raises(StudyError, match=complaint):
        Space(ROWS).parameters({**good, **config}, what="the baseline")


def test_an_incomplete_baseline_is_refused_but_a_known_configuration_may_leave_rows_open() -> None:
    with pytest.raises(StudyError, match='does not say "lr"'):
        Space({"lr": Float(0.1, 1.0)}).parameters({}, what="the baseline")
    assert Space({"lr": Float(0.1, 1.0)}).parameters({}, what="known[0]", complete=False) == {}


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Int(10, 3), "10 is above 3"),
        (lambda: Int(0, 3, log=True), "low above 0"),
        (lambda: Int(1, 9, step=0), "step must be above 0"),
        (lambda: Int(1.5, 3), "not a whole number"),  # type: ignore[arg-type]
        (lambda: Float(0.0, float("nan")), "not a finite number"),
        (lambda: Float(0.1, 1.0, log=True, step=0.1), "exclude each other"),
        (lambda: Categorical(), "at least one choice"),
        (lambda: Categorical("a", "a"), "twice"),
        (lambda: Categorical([1]), "must be text"),  # type: ignore[arg-type]
        (lambda: Int(1, 2).when(), "needs a condition"),
        (lambda: Space({"a": Int(1, 2).per("b")}), 'per "b", which is no row'),
        (lambda: Space({"a": Int(1, 2).per("b"), "b": Float(1, 2)}), "whole number of at least 1"),
        (lambda: Space({"a": Int(1, 2).when(optimiser="sgd"), "optimizer": "sgd"}), 'did you mean "optimizer"'),
        (lambda: Space({"a": Int(1, 2).when(b="z"), "b": Categorical("x", "y")}), "never happens"),
        (lambda: Space({"a": Int(1, 2).when(b=1), "b": Int(1, 2).when(a=1)}), "circle"),
        (lambda: Space({"no name": 1}), "not a parameter name"),
    ],
)
def test_an_impossible_row_is_refused_when_it_is_written(make: Any, complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        make()


def test_both_ends_of_every_branch_are_listed() -> None:
    configs = list(Space(ROWS).branches())
    assert {(c["layers"], c["optimizer"]) for c in configs} == {(2, "adam"), (2, "sgd"), (4, "adam"), (4, "sgd")}
    assert {c["lr"] for c in configs} == {1e-5, 1e-1}


@given(seed=st.integers(0, 10_000))
def test_whatever_a_sampler_draws_is_a_configuration_of_the_space(seed: int) -> None:
    space = Space(ROWS)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    config = space.sample(lambda name, row: suggest(trial, name, row))
    assert space.parameters(config, what="the draw") == trial.params
    for name, row in space.searched.items():
        if name in trial.distributions:
            assert trial.distributions[name] == distribution(row)
