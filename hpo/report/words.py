"""How numbers read in a report."""

from __future__ import annotations

import math

from hpo.duration import format_duration
from hpo.wording import score

__all__ = ["difference", "number", "percent", "seconds", "size"]


def number(amount: float | None) -> str:
    """An objective, as `hpo.wording.score` has it, in a page's typography."""
    if amount is None or math.isnan(amount):
        return "–"
    if math.isinf(amount):
        return "∞" if amount > 0 else "−∞"
    shown = score(amount)
    return shown.replace("-", "−") if "e" not in shown else shown


def difference(amount: float) -> str:
    """Of two objectives: no more decimals than `number` gives them, unless nothing would be left."""
    return f"{amount:.5f}".replace("-", "−") if 5e-5 <= abs(amount) < 1 else number(amount)


def seconds(amount: float | None) -> str:
    """`0.4 s`, then `12s`, `4m05s`: short trials differ by tenths."""
    if amount is None or not math.isfinite(amount):
        return "–"
    return f"{amount:.1f} s" if amount < 9.95 else format_duration(amount)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
