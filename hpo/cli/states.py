"""The states of trials as commands show them: their order, their colours, and their counts."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COUNTS", "STYLES", "counts_text"]

COUNTS = ("complete", "pruned", "failed", "running", "waiting")

STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan", "waiting": "bright_black"}
"""One colour for each state of a trial, wherever it is shown."""


def counts_text(counts: Mapping[str, int]) -> str:
    """`12 complete, 31 pruned, 2 running`: the states that occur."""
    parts = [f"{counts[state]} {state}" for state in COUNTS if counts.get(state)]
    return ", ".join(parts) or "no trials yet"
