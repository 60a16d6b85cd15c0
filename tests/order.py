"""In which order tests run that run side by side: the long ones first, each by itself, then file by file.

A long test that begins last runs alone, while the other processes have nothing left to do. The tests of a file stay in
one process, which makes what they share once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

LONGEST = Path(__file__).with_name("longest.txt")


def longest() -> dict[str, float]:
    """Seconds by test, without its parameters, or by file. A row that is missing or gone costs time and no more."""
    lines = [line.split() for line in LONGEST.read_text().splitlines()]
    return {name: float(seconds) for seconds, name in lines}


def piece(nodeid: str, known: dict[str, float]) -> str:
    """What a process is given at once: a test that has a row of its own, or what is left of a file."""
    return nodeid if nodeid.partition("[")[0] in known else nodeid.partition("::")[0]


def long_ones_first(items: list[pytest.Item], known: dict[str, float]) -> None:
    """Sort them: pieces with a row, the longest first; other files of tests/system; tests/unit, which are quick."""

    def place(item: pytest.Item) -> tuple[float, bool, str]:
        name = piece(item.nodeid, known)
        return -known.get(name.partition("[")[0], 0.0), name.startswith("tests/unit/"), name

    items.sort(key=place)  # stable: what is alike stays as it stands in its file


def scheduler(config: pytest.Config, log: Any) -> Any:
    """One that gives the next piece to the process that is nearly done."""
    from xdist.scheduler import LoadScopeScheduling

    known = longest()

    class Pieces(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return piece(nodeid, known)

    config.option.loadscopereorder = False  # that would begin with the file of the most tests
    return Pieces(config, log)
