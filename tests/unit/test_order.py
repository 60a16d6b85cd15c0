"""tests/order.py: the longest begin first, and what a file shares is made once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from order import long_ones_first, longest, piece

TESTS = Path(__file__).parents[1]


def test_long_tests_begin_first_then_files_and_unit_tests_last() -> None:
    known = {"tests/system/a.py": 40.0, "tests/system/b.py::test_long": 60.0}
    names = ["tests/unit/u.py::test_u", "tests/system/c.py::test_c", "tests/system/b.py::test_long[one]",
             "tests/system/a.py::test_a", "tests/system/b.py::test_short", "tests/system/a.py::test_a2"]  # fmt: skip
    items = cast(Any, [SimpleNamespace(nodeid=name) for name in names])
    long_ones_first(items, known)
    assert [item.nodeid for item in items] == [names[number] for number in (2, 3, 5, 4, 1, 0)]
    assert piece(names[2], known) == names[2], "by itself"
    assert piece(names[3], known) == piece(names[5], known)
    assert piece(names[4], known) != piece(names[2], known)


def test_every_row_is_of_a_test_that_there_is() -> None:
    for name in longest():
        path, _, test = name.partition("::")
        assert not test or f"def {test}(" in (TESTS.parent / path).read_text(), name
        assert (TESTS.parent / path).exists(), name
