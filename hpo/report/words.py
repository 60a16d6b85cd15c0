"""How a report's page writes numbers: as hpo.wording and hpo.duration do, in a page's typography."""

from __future__ import annotations

import math

from hpo import wording
from hpo.duration import format_short

__all__ = ["are", "difference", "number", "percent", "seconds"]


def are(count: int) -> str:
    """`are none`, `is one`, `are 12`: after "there"."""
    return {0: "are none", 1: "is one"}.get(count, f"are {count:,}")


def number(amount: float | None) -> str:
    """An objective; a dash where there is none."""
    if amount is None or math.isnan(amount):
        return "–"
    if math.isinf(amount):
        return "∞" if amount > 0 else "−∞"
    return _minus(wording.score(amount))


def difference(amount: float) -> str:
    return _minus(wording.difference(amount))


def seconds(amount: float | None) -> str:
    return format_short(amount) if amount is not None and math.isfinite(amount) else "–"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _minus(shown: str) -> str:
    return shown.replace("-", "−") if "e" not in shown else shown
