"""Durations as people write them: `90s`, `10m`, `3h`, `1h30m`."""

from __future__ import annotations

import math
import re

from hpo.errors import UsageError

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PATTERN = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_LONGEST = 365 * 86_400.0


def parse_duration(text: str | float) -> float:
    """The seconds in `text`. A bare number means seconds.

    Raises UsageError for anything else, for zero, and for more than a year.
    """
    seconds = _seconds(text)
    if seconds is None or not math.isfinite(seconds) or not 0 < seconds <= _LONGEST:
        raise UsageError(
            f"cannot read {str(text)[:40]!r} as a duration",
            evidence=["a duration is a positive number with units d, h, m, s in that order, at most a year"],
            next="write for example 90s, 10m, 3h or 1h30m",
        )
    return seconds


def _seconds(text: str | float) -> float | None:
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str):
        return None
    compact = text.strip().lower()
    if re.fullmatch(r"\d{1,15}(\.\d+)?", compact, re.ASCII):
        return float(compact)
    match = _PATTERN.fullmatch(compact)
    if not match or not compact:
        return None
    return sum(float(number) * scale for number, scale in zip(match.groups(), _UNITS.values(), strict=True) if number)


def format_short(seconds: float) -> str:
    """`0.4s` below ten seconds, then as `format_duration`: short trials differ by tenths."""
    return f"{seconds:.1f}s" if seconds < 9.95 else format_duration(seconds)


def format_duration(seconds: float) -> str:
    """The two largest units, as in `1h 30m`, `4m 05s`, `12s`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    if minutes:
        return f"{minutes}m {secs:02d}s"
    return f"{secs}s"
