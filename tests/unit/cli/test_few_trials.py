"""What `hpo check --timeout` says where the time is too short for a search to learn anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hpo.cli.check import few_lines


@pytest.mark.parametrize(("most", "words"), [(0, "no whole trial fits"), (1, "at most 1 whole trial fits"),
                                             (7, "at most 7 whole trials fit"), (20, None)])  # fmt: skip
def test_a_time_that_holds_few_trials_is_not_simply_ok(most: int, words: str | None) -> None:
    """`0 to 1 trials in 10m` was followed by a cheerful ok."""
    estimates: list[Any] = [SimpleNamespace(trial_seconds=seconds) for seconds in (60.0, 360.0)]
    lines = few_lines(most, estimates, 2)
    assert len(lines) == (words is not None)
    if words is not None:
        assert words in lines[0]
        assert "about 20, which take up to 1h 00m" in lines[0]
        assert "--subset" in lines[0]
