"""Is a study declared as it was when its first trial ran?"""

from __future__ import annotations

from collections.abc import Mapping

from hpo.errors import DeclarationChanged
from hpo.wording import shortened

__all__ = ["check_same_declaration"]

SHOWN = 20
"""The most changed rows that an error shows; a database may hold any number."""


def check_same_declaration(name: str, now: Mapping[str, str], stored: Mapping[str, str], finished: int) -> None:
    """Raise DeclarationChanged with the rows in which study `name` differs from what it was started with."""
    names = [*stored, *(row for row in now if row not in stored)]
    changed = [row for row in names if stored.get(row) != now.get(row)]
    if not changed:
        return
    width = max(len(shortened(row)) for row in changed)
    raise DeclarationChanged(
        f'study "{name}" was started with a different table ({finished} finished trials)',
        evidence=[
            f"{shortened(row):<{width}}  {shortened(stored.get(row, '-'), 200)}   ->   {now.get(row, '-')}"
            for row in changed[:SHOWN]
        ],
        next=f"give the study a new name (--name), or restore the row{'s' if len(changed) > 1 else ''} above",
    )
