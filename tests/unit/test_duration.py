"""Durations: what people write, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.duration import format_duration, parse_duration
from hpo.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("3h", 10_800), ("1h30m", 5_400), ("2d", 172_800), ("45", 45), (" 1H ", 3600), (7, 7)],
)
def test_what_people_write_is_understood(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-1m", "soon", "1h 30x", "m", "30m1h", "nan", "inf", "1e9", "٣h", "9" * 99]
)
def test_nonsense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="1h30m"):
        parse_duration(text)


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_a_usage_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except UsageError:
        return
    assert 0 < seconds <= 365 * 86_400


@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), seconds=st.integers(0, 59))
def test_units_add_up(hours: int, minutes: int, seconds: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds
    if total:
        assert parse_duration(f"{hours}h{minutes}m{seconds}s") == total


def test_durations_are_shown_by_their_two_largest_units() -> None:
    assert [format_duration(s) for s in (12, 245, 5400, -3)] == ["12s", "4m 05s", "1h 30m", "0s"]
