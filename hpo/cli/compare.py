"""`hpo compare`: studies side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.completion import complete_study
from hpo.cli.options import JsonOption, ReadStorageOption
from hpo.cli.output import cell, emit, emit_json, emit_rich
from hpo.wording import score, value_text

if TYPE_CHECKING:
    from rich.table import Table

    from hpo.comparison import StudyComparison
    from hpo.comparison.contender import Contender
    from hpo.results.reading import StudyView

__all__ = ["compare"]

SHOWN = 8
"""Parameters of which a terminal says what they mattered; the page has all."""


def compare(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="A B ...",
            help="Two studies or more of one metric, as `--study` of other commands names them.",
            autocompletion=complete_study,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Also write a page (index.html) and comparison.json to this folder.",
            show_default=False,
        ),
    ] = None,
    storage: ReadStorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare studies: which found more and whether that is beyond chance, with what settings, what mattered, the cost.

    Fresh runs decide where `hpo evaluate` has measured every study, else the searches, whose values are optimistic.
    """
    from hpo.comparison import compare_studies, write_comparison

    comparison = compare_studies(_read(studies, storage))
    files = write_comparison(comparison, out) if out is not None else ()
    if as_json:
        emit_json({**comparison.document(), **({"files": [str(path) for path in files]} if files else {})})
        return
    _say(comparison)
    if files:
        emit(f"\n{files[0]}")


def _read(references: list[str], storage: str | None) -> list[StudyView]:
    from hpo.results.reading import open_for_reading, read_study, stored_name
    from hpo.settings import Settings

    engine = open_for_reading(storage, Settings.read())
    try:
        return [read_study(engine, stored_name(engine, reference)) for reference in references]
    finally:
        engine.dispose()


def _say(comparison: StudyComparison) -> None:
    from hpo.cli.layout import labelled_lines

    table = labelled_lines()
    table.add_row("verdict", cell(comparison.verdict.sentence))
    for index, step in enumerate(comparison.next_steps):
        table.add_row("" if index else "hint", cell(step))
    emit_rich(table, "", _studies(comparison))
    if comparison.settings:
        emit_rich("", _settings(comparison))
    if comparison.mattered:
        emit_rich("", _mattered(comparison))


def _studies(comparison: StudyComparison) -> Table:
    from hpo.cli.layout import plain_table

    measured = comparison.verdict.basis == "evaluation"
    fresh = ("fresh runs", "95 % interval") if measured else ()
    numbers = ("best in the search", "baseline", "trials", "trials/h", "fresh runs")
    table = plain_table("study", *fresh, "best in the search", "baseline", "trials", "trials/h", "cost", right=numbers)
    for one in comparison.contenders:
        table.add_row(*_row(one, measured=measured), style="bold" if one.name == comparison.verdict.best else "")
    return table


def _row(one: Contender, *, measured: bool) -> list[str]:
    best, found, pace = one.view.best, one.measured, one.insight.pace.trials_per_hour
    cells = [cell(one.name)]
    if measured and found is not None:
        low, high = found.score["low"], found.score["high"]
        interval = f"{score(low)} to {score(high)}" if low is not None else found.score["no_interval"]
        cells += [score(found.score["mean"]), interval]
    finished = sum(one.view.counts[state] for state in ("complete", "pruned", "failed"))
    return [
        *cells,
        score(best.values[0]) if best is not None else "-",
        score(one.insight.settings.baseline_value),
        str(finished),
        f"{pace:,.0f}" if pace else "-",
        one.insight.cost.text or "-",
    ]


def _settings(comparison: StudyComparison) -> Table:
    from hpo.cli.layout import plain_table

    table = plain_table("parameter", *(cell(one.name) for one in comparison.contenders), "")
    for row in comparison.settings:
        shown = ("-" if value is None else cell(value_text(value)) for value in row.values)
        star = "[bold]*[/]" if row.differs else ""
        table.add_row(cell(row.name), *shown, star, style="bold" if row.differs else "")
    return table


def _mattered(comparison: StudyComparison) -> Table:
    from hpo.cli.layout import plain_table

    table = plain_table("mattered", *(cell(one.name) for one in comparison.contenders))
    for row in comparison.mattered[:SHOWN]:
        shown = ("-" if one is None else cell(f"{100 * one.share:.0f} %: {one.text}") for one in row.found)
        table.add_row(cell(row.name), *shown)
    return table
