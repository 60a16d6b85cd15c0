"""The search space: what rows mean, and which tables are refused."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.errors import StudyError
from hpo.sampling.distributions import distribution, suggest
from hpo.study.samplers import Grid, check_sampler
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


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (Float(0.0, 0.5, step=0.3), [0.0, 0.3]),
        (Float(0.1, 0.7, step=0.2), [0.1, 0.3, 0.5, 0.7]),
        (Float(-0.3, 0.3, step=0.25), [-0.3, -0.05, 0.2]),
        (Float(0.5, 0.5), [0.5]),
        (Float(1.0, 2.0, step=5.0), [1.0]),
        (Int(1, 8, step=3), [1, 4, 7]),
        (Int(1, 4, log=True), [1, 2, 3, 4]),
        (Categorical("a", None, True, 1), ["a", None, True, 1]),
    ],
)
def test_a_grid_has_every_value_of_a_row_and_none_outside(row: Any, values: list[Any]) -> None:
    points = Grid().points(Space({"row": row}), seed=0)
    assert sorted((point["row"] for point in points), key=repr) == sorted(values, key=repr)


@given(low=st.floats(-1e6, 1e6), width=st.floats(0, 100), step=st.floats(0.1, 50))
def test_a_grid_over_any_range_and_step_stays_in_the_row(low: float, width: float, step: float) -> None:
    row = Float(low, low + width, step=step)
    values = [point["row"] for point in Grid().points(Space({"row": row}), seed=0)]
    assert values
    assert all(row.contains(value) for value in values), row
    assert row.ends()[0] in values
    assert row.ends()[1] in values
    assert min(values) + len(values) * step > row.high - 1e-6  # none is left out at the end


def test_a_grid_walks_conditional_rows_where_they_are_active_and_each_layer_of_its_own() -> None:
    rows = {
        "optimizer": Categorical("adam", "sgd"),
        "momentum": Float(0.0, 0.5, step=0.5).when(optimizer="sgd"),
        "layers": Int(1, 2),
        "units": Categorical(8, 16).per("layers"),
        "schedule": "cosine",
    }
    points = Grid().points(Space(rows), seed=0)
    assert len(points) == (1 + 2) * (2 + 4)
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    space = Space(rows)
    assert all(space.parameters(space.configuration(point), what="the point") == point for point in points)


@pytest.mark.parametrize(
    ("rows", "complaint", "instead"),
    [
        ({"lr": Float(1e-4, 1e-1, log=True)}, 'listed values for "lr"', "give Categorical(...)"),
        ({"lr": Float(0.0, 1.0)}, 'listed values for "lr"', "or a step"),
        ({"a": Int(0, 2**53)}, '"a" alone has more than 100,000', "fewer values"),
        ({"a": Float(0.0, 1.0, step=1e-6)}, '"a" alone has more than 100,000', "fewer values"),
        ({"a": Int(1, 1000), "b": Int(1, 1000)}, "the space has more than 100,000", "fewer values"),
        ({"n": Int(1, 40), "a": Categorical(0, 1).per("n")}, "the space has more than 100,000", "fewer values"),
    ],
)
def test_a_grid_that_cannot_be_walked_is_refused(rows: dict[str, Any], complaint: str, instead: str) -> None:
    with pytest.raises(StudyError, match=complaint) as refused:
        check_sampler(Grid(), Space(rows))
    assert instead in str(refused.value.next)


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
