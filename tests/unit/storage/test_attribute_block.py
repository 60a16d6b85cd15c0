"""Attributes of many trials in one text come back as they were, whatever somebody put there."""

from __future__ import annotations

import json

import pytest

from hpo.storage.attribute_block import AttributeBlock, Words

PLAIN = ["a", "1", "b", '"x"']
TPE = ["tpe:relative", '{"x": 0.5}']


@pytest.mark.parametrize(
    "user",
    [
        [],
        PLAIN,
        ["a\nb", "1"],
        ["a\x1fb", "1"],
        ["a", '\n{"x":\n 1}\n'],
        ["a", "\x1f1"],
        ["", "[1]"],
        ["[", "1"],
        ["a", ""],
        ["a", "no JSON", "b", "2"],
    ],
    ids=repr,
)
def test_each_trial_has_its_own_and_what_is_no_json_is_not_there(user: Words) -> None:
    block = AttributeBlock([(PLAIN, TPE), (user, TPE), (PLAIN, [])])
    expected = {}
    for key, text in zip(user[::2], user[1::2], strict=True):
        try:
            expected[key] = json.loads(text)
        except ValueError:
            continue
    assert [block.user(place) for place in range(3)] == [{"a": 1, "b": "x"}, expected, {"a": 1, "b": "x"}]
    assert [block.of_tpe(place) for place in range(3)] == [{"tpe:relative": {"x": 0.5}}] * 2 + [{}]


def test_blocks_by_turns_do_not_take_each_others_place() -> None:
    one, other = AttributeBlock([(["a", "1"], [])]), AttributeBlock([(["a", "2"], [])])
    assert [block.user(0)["a"] for block in (one, other, one)] == [1, 2, 1]
