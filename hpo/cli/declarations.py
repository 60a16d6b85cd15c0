"""`hpo studies` and `hpo space`: show declarations without loading torch and without a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.cli.options import JsonOption, StudyOption, declared_study
from hpo.cli.output import cell, emit_json, emit_rich
from hpo.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, Group, RenderResult

    from hpo.study.study import Study

__all__ = ["heading", "space", "space_tables", "studies"]

NARROW = 100
"""Below this many columns most lines of the table of studies would be folded."""


def studies(as_json: JsonOption = False) -> None:
    """List the bundled studies. Name your own by path or module:attribute."""
    from hpo.study.discovery import list_studies

    found = [one.study for one in list_studies()]
    if as_json:
        emit_json([_row(study) | {"description": study.description.strip()} for study in found])
        return
    emit_rich(_Listing(found))


@dataclass(frozen=True)
class _Listing:
    """A table; on a narrow terminal, where columns would fold word by word, a list with descriptions below names."""

    studies: Sequence[Study]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.padding import Padding

        from hpo.cli.layout import plain_table

        narrow = options.max_width < NARROW
        table = plain_table("study", "dataset", "model", "about")
        for study in self.studies:
            about = study.description.strip().split("\n")[0]
            if narrow:
                yield f"[bold]{study.name}[/]  [dim]{study.dataset_name}, {study.model_name}[/]"
                yield Padding(about, (0, 0, 0, 2))
            else:
                table.add_row(f"[bold]{study.name}[/]", study.dataset_name, study.model_name, about)
        if not narrow:
            yield table


def space(study: StudyOption, as_json: JsonOption = False) -> None:
    """Show a study's table: every row, searched or fixed, and the protocol of a trial."""
    found = declared_study(study)
    if found.define_by_run:
        found.check_trained_here("space")
    if as_json:
        emit_json(
            {
                "study": found.name,
                "fingerprint": found.fingerprint(),
                "space": found.rows.describe(),
                "beliefs": _beliefs(found),
                "declaration": found.declaration(),
                "baseline": dict(found.baseline),
            }
        )
        return
    emit_rich(heading(found), "", space_tables(found))


def heading(study: Study) -> str:
    """The study's name and description for Rich, whatever stands in them: [x] is no markup."""
    from rich.markup import escape

    return f"[bold]{cell(study.name)}[/]  {escape(printable(study.description.strip()))}"


def space_tables(study: Study) -> Group:
    """The rows of the space with the baseline beside them, then the protocol."""
    from rich.console import Group

    from hpo.cli.layout import plain_table
    from hpo.cli.output import cell
    from hpo.wording import value_text

    rows = plain_table("row", "searched over", "baseline")
    beliefs = _beliefs(study)
    for name, text in study.rows.describe().items():
        text += f"  {beliefs[name]}" if name in beliefs else ""
        baseline = value_text(study.baseline[name]) if name in study.baseline else ""
        rows.add_row(f"[bold]{name}[/]", cell(text), cell(baseline), style="dim" if text.endswith(" fixed") else "")
    protocol = plain_table("protocol", "")
    for name, text in study.declaration().items():
        if name not in study.rows.rows:
            protocol.add_row(name.strip("()"), cell(text))
    return Group(rows, "", protocol)


def _beliefs(study: Study) -> dict[str, str]:
    """What is believed of rows, which is no part of the declaration: it may change while a study goes on."""
    return {name: str(row.belief) for name, row in study.rows.searched.items() if row.belief is not None}


def _row(study: Study) -> dict[str, Any]:
    return {
        "name": study.name,
        "dataset": study.dataset_name,
        "model": study.model_name,
        "parameters": list(study.rows.searched),
    }
