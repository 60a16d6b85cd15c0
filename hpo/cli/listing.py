"""Every study of a database, hpo's or plain Optuna's, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from hpo.results.reading import StudyView

__all__ = ["read_all", "studies_table"]


def read_all(storage: str | None) -> list[StudyView]:
    """Every study, by name. StudyError where there is none."""
    from hpo.errors import StudyError
    from hpo.results.reading import open_for_reading, place_of, read_study, study_names
    from hpo.settings import Settings

    engine = open_for_reading(storage, Settings.read())
    try:
        names = study_names(engine)
        if not names:
            raise StudyError(f"no study has run in {place_of(engine)} yet", next="`hpo run --study NAME` starts one")
        return [read_study(engine, name) for name in names]
    finally:
        engine.dispose()


def studies_table(views: list[StudyView]) -> Table:
    from hpo.cli.layout import plain_table
    from hpo.cli.output import cell
    from hpo.cli.states import counts_text
    from hpo.cli.study_tables import budget_text
    from hpo.wording import score

    table = plain_table("study", "objective", "best", "trials", "budget", right=["best"])
    for view in views:
        best = view.best
        goals = ", ".join(f"{way} {name}" for way, name in zip(view.directions, view.objectives, strict=True))
        values = ", ".join(score(value) for value in best.values) if best is not None else "-"
        cells = cell(goals), values, counts_text(view.counts), budget_text(view)
        table.add_row(f"[bold]{cell(view.name)}[/]", *cells)
    return table
