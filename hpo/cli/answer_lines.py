"""The answers of hpo.insight as lines of a terminal: `hpo best`, `hpo status` and the end of a run say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from hpo.cli.layout import plain_table
from hpo.cli.output import cell
from hpo.duration import format_duration
from hpo.wording import value_text

if TYPE_CHECKING:
    from hpo.insight import Insight

__all__ = ["add_rows", "cost_text", "mattered_lines", "pace_text", "settings_table", "tied_text"]

SHOWN = 4
"""Parameters that are listed as having mattered; the report has all."""


def add_rows(table: Table, insight: Insight, *, steps: bool = True) -> None:
    """The verdict, what mattered, what it cost and what to do next, each with its label."""
    table.add_row("verdict", cell(insight.verdict.sentence))
    for index, line in enumerate(mattered_lines(insight, whole=True)):
        table.add_row("" if index else "mattered", cell(line))
    if text := cost_text(insight):
        table.add_row("cost", cell(text))
    for index, step in enumerate(insight.steps if steps else ()):
        table.add_row("" if index else "hint", cell(step.text))


def mattered_lines(insight: Insight, *, whole: bool = False) -> Iterator[str]:
    """`lr 43 %: small, 0.0021 to 0.01`, the most important first; or why nothing is said.

    whole: as sentences, which say of what the percentages are
    """
    found = insight.mattered
    if found.nothing:
        yield found.nothing
        return
    clear = [one for one in found.parameters if one.sure != "unclear"]
    for index, one in enumerate(clear[:SHOWN]):
        share = f"{100 * one.share:.0f} %"
        doubt = "" if one.sure == "sure" else f" ({one.sure}, not sure)"
        if whole:
            ranking = "" if index else " of how the trials rank"
            yield f"{one.name} explains {share}{ranking}; the best are {one.text}{doubt}"
        else:
            yield f"{one.name} {share}: {one.text}{doubt}"


def tied_text(numbers: Sequence[int]) -> str:
    """`, and trials 4, 7 with the same score`."""
    if not numbers:
        return ""
    named = ", ".join(str(number) for number in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    return f", and trial{'s' if len(numbers) > 1 else ''} {named} with the same score"


def cost_text(insight: Insight) -> str:
    """`1h 20m of GPU time; pruning saved about 40m 00s`; "" before the first trial has ended."""
    saved = f"; pruning saved about {format_duration(insight.pruning.seconds)}" if insight.pruning else ""
    return f"{insight.cost.text}{saved}" if insight.cost.text else ""


def pace_text(insight: Insight) -> str:
    """`38 trials/h, last gain 12 trials ago (trial 66)`; "" before three trials have ended."""
    pace = insight.pace
    if pace.trials_per_hour is None:
        return ""
    parts = [f"{pace.trials_per_hour:,.0f} trials/h"]
    if pace.last_gain is not None and pace.trials_since is not None:
        ago = (
            f"{pace.trials_since} trial{'s' if pace.trials_since != 1 else ''} ago" if pace.trials_since else "just now"
        )
        parts.append(f"last gain {ago} (trial {pace.last_gain.trial})")
    return ", ".join(parts)


def settings_table(insight: Insight) -> Table:
    """The winner's settings beside the baseline's; a star marks what differs."""
    settled = insight.settings
    best = f"trial {settled.trial}" if settled.trial is not None else "best"
    if settled.baseline_trial is None or settled.baseline_trial == settled.trial:
        table = plain_table("parameter", best if settled.baseline_trial is None else f"{best} (baseline)")
        for row in settled.rows:
            table.add_row(cell(row.name), cell(value_text(row.best)))
        return table
    table = plain_table("parameter", best, "baseline", "")
    for row in settled.rows:
        shown = ("-" if value is None else cell(value_text(value)) for value in (row.best, row.baseline))
        table.add_row(cell(row.name), *shown, "[bold]*[/]" if row.changed else "", style="bold" if row.changed else "")
    return table
