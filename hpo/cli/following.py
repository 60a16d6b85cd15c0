"""`--watch`: show a study repeatedly, in place on a terminal and one answer after another in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpo.results.reading import StudyView

__all__ = ["follow"]


def follow(
    reference: str, storage: str | None, seconds: float, show: Callable[[StudyView, bool], None], *, as_json: bool
) -> None:
    """Show the study every `seconds` over one connection, until Ctrl-C."""
    from hpo.results.reading import open_for_reading, read_study, stored_name
    from hpo.settings import Settings

    in_place = sys.stdout.isatty() and not as_json
    engine = open_for_reading(storage, Settings.read())
    try:
        name = stored_name(engine, reference)
        while True:
            view = read_study(engine, name)
            if in_place:
                print("\x1b[H\x1b[2J", end="")
            show(view, as_json)
            sys.stdout.flush()
            time.sleep(seconds)
    finally:
        engine.dispose()
