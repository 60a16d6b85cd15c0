"""How states, counts and times read, the same in every command; numbers and parameters: hpo.wording."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hpo.duration import format_duration

__all__ = [
    "COUNTS",
    "STYLES",
    "counts_text",
    "printable",
    "seconds_text",
]

COUNTS = ("complete", "pruned", "failed", "running", "waiting")

STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan", "waiting": "bright_black"}
"""One colour for each state of a trial, wherever it is shown."""

# A terminal obeys control characters (tab and newline only lay out); a lone surrogate cannot be written as UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with what no terminal should get spelled out as in JSON: names in a shared database come from anybody."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def seconds_text(seconds: float) -> str:
    """`0.4s`, then `12s`, `4m 05s`, `1h 30m`: short trials differ by tenths."""
    return f"{seconds:.1f}s" if seconds < 9.95 else format_duration(seconds)


def counts_text(counts: Mapping[str, int]) -> str:
    """`12 complete, 31 pruned, 2 running`: the states that occur."""
    parts = [f"{counts[state]} {state}" for state in COUNTS if counts.get(state)]
    return ", ".join(parts) or "no trials yet"
