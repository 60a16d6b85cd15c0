"""Configurations as points, and configurations drawn: conditions, lists, choices, steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpo import Categorical, Float, Int
from hpo.freeze_thaw.drawing import draw_evenly, draw_near
from hpo.freeze_thaw.encoding import NEUTRAL, Encoding
from hpo.study.places import place_in, value_at
from hpo.study.space import Space

SPACE = Space(
    {
        "layers": Int(2, 4),
        "units": Int(16, 1024).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "schedule": Categorical("cosine", "step", "none"),
        "lr": Float(1e-5, 1e-1, log=True),
        "momentum": Float(0.0, 0.99).when(optimizer="sgd"),
        "dropout": Float(0.0, 0.5, step=0.1),
        "batch_size": Int(10, 99, step=10),
        "seed": 5,
    }
)
GIVEN: dict[str, Any] = {
    "layers": 2, "units_0": 16, "units_1": 1024, "optimizer": "adam", "schedule": "step", "lr": 1e-3, "dropout": 0.5,
    "batch_size": 10,
}  # fmt: skip


def test_a_configuration_is_always_as_many_numbers() -> None:
    encoding = Encoding(SPACE)
    point = encoding.points([GIVEN])[0]
    # layers, four units of which two are the others' mean, optimizer, schedule, lr, momentum, dropout, batch_size
    assert point.tolist() == pytest.approx([0, 0, 1, 0.5, 0.5, 0, 0, 1, 0, 0.5, NEUTRAL, 1, 0])
    assert encoding.columns == len(point)
    assert encoding.points([]).shape == (0, encoding.columns)


def test_an_active_row_has_its_own_place() -> None:
    momentum = Encoding(SPACE).points([{**GIVEN, "optimizer": "sgd", "momentum": 0.99}])[0][10]
    assert momentum == pytest.approx(1.0)


def test_a_list_by_a_fixed_number_has_a_column_each() -> None:
    space = Space({"layers": 3, "units": Int(1, 5).per("layers")})
    assert Encoding(space).points([{"units_0": 1, "units_1": 3, "units_2": 5}]).tolist() == [[0, 0.5, 1]]


@pytest.mark.parametrize("row", [row for row in SPACE.searched.values() if isinstance(row, Int | Float)], ids=str)
def test_a_value_at_a_place_is_one_of_the_row_and_lies_there(row: Int | Float) -> None:
    for place in np.linspace(0, 1, 23):
        value = value_at(row, float(place))
        assert row.contains(value)
        assert value_at(row, place_in(row, value)) == pytest.approx(value)


def test_a_row_with_one_value_has_one_place() -> None:
    assert place_in(Float(2.0, 2.0), 2.0) == NEUTRAL
    assert value_at(Int(7, 7, log=True), 0.3) == 7


def _belongs(params: dict[str, Any]) -> bool:
    """Whether the space accepts them as a whole configuration."""
    config = SPACE.configuration(params)
    given = {name: value for name, value in config.items() if name in SPACE.searched}
    return SPACE.parameters(given, what="the drawn one") == params


def test_what_is_drawn_is_a_configuration_of_the_space() -> None:
    draw = np.random.default_rng(0)
    drawn = [draw_evenly(SPACE, draw) for _ in range(100)]
    near = [draw_near(SPACE, params, draw, width=0.5, share=0.7) for params in drawn]
    assert all(_belongs(params) for params in drawn + near)
    assert {params["optimizer"] for params in drawn} == {"adam", "sgd"}
    assert {params["batch_size"] for params in drawn} == set(range(10, 100, 10))


def test_a_configuration_drawn_near_moves_little_and_seldom() -> None:
    draw = np.random.default_rng(0)
    assert draw_near(SPACE, GIVEN, draw, width=0.1, share=0.0) == GIVEN
    places = [
        place_in(SPACE.rows["lr"], draw_near(SPACE, GIVEN, draw, width=0.05, share=0.5)["lr"]) for _ in range(400)
    ]
    moved = [place for place in places if place != pytest.approx(0.5)]
    assert 140 < len(moved) < 260
    assert np.std(moved) == pytest.approx(0.05, rel=0.25)


def test_a_row_that_becomes_active_is_drawn() -> None:
    draw = np.random.default_rng(0)
    changed = [draw_near(SPACE, GIVEN, draw, width=0.1, share=0.9) for _ in range(50)]
    assert all(("momentum" in params) == (params["optimizer"] == "sgd") for params in changed)
    assert any("momentum" in params for params in changed)
