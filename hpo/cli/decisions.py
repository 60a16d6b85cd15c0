"""`hpo status --why`: what a search that pauses trials decided last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.cli.output import emit, emit_json
from hpo.errors import UsageError
from hpo.printable import one_line

if TYPE_CHECKING:
    from hpo.results.reading import StudyView

__all__ = ["show_decisions"]


def show_decisions(view: StudyView, *, watch: bool, as_json: bool) -> None:
    """A line for each trial that has not ended and was decided about, those in training first."""
    from hpo.insight.why import decided_last

    if watch:
        raise UsageError("--why shows what was decided once", next="leave --watch out")
    decisions = decided_last(view)
    if as_json:
        emit_json({"study": view.name, "decisions": decisions})
        return
    if not decisions:
        emit(one_line(f"{view.name}: no decision stands about a trial that has not ended; FreezeThaw() makes them"))
    for one in decisions:
        emit(one_line(f"trial {one['trial']}, {one['state']}: {one['sentence']}"))
