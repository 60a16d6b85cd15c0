"""A value out of the database is held against the type it was written as, all the way down."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import pytest

from hpo.conforming import conforms


class Row(TypedDict):
    name: str
    mean: float | None
    values: list[float]
    inner: NotRequired[dict[str, int]]


GOOD: dict[str, Any] = {"name": "a", "mean": None, "values": [1, 2.5]}


@pytest.mark.parametrize("change", [{}, {"mean": 1}, {"mean": 0.5}, {"inner": {"a": 1}}, {"more": [None]}], ids=str)
def test_what_has_the_shape_conforms(change: dict[str, Any]) -> None:
    assert conforms(GOOD | change, Row)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1}, {"name": None}, {"mean": "x"}, {"mean": True}, {"mean": 10**400}, {"values": {}},
        {"values": ["x"]}, {"values": [None]}, {"values": [[1]]}, {"inner": None}, {"inner": {"a": 1.5}}, {"inner": []},
    ],
    ids=str,
)  # fmt: skip
def test_what_has_another_does_not(change: dict[str, Any]) -> None:
    assert not conforms(GOOD | change, Row)


@pytest.mark.parametrize("value", [None, [], "x", 3, {}, {"name": "a"}], ids=repr)
def test_nor_does_what_is_no_such_thing_at_all(value: Any) -> None:
    assert not conforms(value, Row)
