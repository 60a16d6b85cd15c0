"""Stored studies for people: a few aligned lines, or a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpo.cli.answer_lines import add_rows, pace_text, settings_table, tied_text
from hpo.cli.layout import labelled_lines, plain_table
from hpo.cli.output import cell
from hpo.cli.states import COUNTS, STYLES
from hpo.cli.wrapping import WrappedParameters
from hpo.duration import format_duration, format_short
from hpo.insight.configurations import tied_with
from hpo.printable import one_line
from hpo.results.best import outside_text, told_outside, why_no_best
from hpo.storage.optuna_schema import STATES, count_finished
from hpo.storage.trial_record import record_of
from hpo.wording import params_text, score

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.console import RenderableType
    from rich.table import Table

    from hpo.insight import Insight
    from hpo.results.reading import StudyView
    from hpo.storage.queries import WorkerRow

__all__ = ["best_lines", "budget_text", "failures_text", "status_lines", "trials_table"]


def status_lines(view: StudyView, insight: Insight, workers: Sequence[WorkerRow]) -> Table:
    table = labelled_lines()
    table.add_row("study", f"[bold]{cell(view.name)}[/]  {', '.join(view.directions)}")
    table.add_row("trials", "   ".join(_count(state, view.counts[state]) for state in COUNTS))
    winner = view.best
    if winner is None:
        table.add_row("best", f"[dim]{why_no_best(view.trials)}[/]")
    else:
        table.add_row("best", f"[bold green]{_values(winner)}[/]  [dim]trial {winner.number}[/]")
        table.add_row("", WrappedParameters(winner.params))
    _add_outside(table, view)
    add_rows(table, insight)
    table.add_row("budget", budget_text(view))
    if pace := pace_text(insight):
        table.add_row("pace", pace)
    for index, worker in enumerate(workers):
        table.add_row("" if index else "workers", _worker(worker))
    if not workers:
        table.add_row("workers", "[dim]none now[/]")
    return table


def best_lines(view: StudyView, insight: Insight, winner: FrozenTrial) -> list[RenderableType]:
    """What it is and what is left of it, then its settings beside the baseline's."""
    table = labelled_lines()
    finished, tied = count_finished(view.counts), tied_with(view, winner)
    table.add_row("study", f"[bold]{cell(view.name)}[/]  [dim]{finished} finished trials[/]")
    table.add_row("best", f"[bold green]{_values(winner)}[/]  [dim]trial {winner.number}{tied_text(tied)}[/]")
    _add_outside(table, view)
    add_rows(table, insight)
    return [table, "", settings_table(insight)]


def _add_outside(table: Table, view: StudyView) -> None:
    if outside := outside_text(view.trials):
        table.add_row("outside", f"[yellow]{outside}[/]")


def trials_table(trials: Sequence[FrozenTrial], *, objectives: int) -> Table:
    values = ["value"] if objectives == 1 else [f"value {index}" for index in range(objectives)]
    numbers = ("trial", *values, "steps", "time")
    table = plain_table("trial", "state", *values, "steps", "time", "parameters", right=numbers)
    outside = {trial.number for trial in told_outside(trials)}
    for trial in trials:
        *cells, about = _trial(trial, objectives)
        table.add_row(*cells, about + ("  [yellow]told from outside[/]" if trial.number in outside else ""))
    return table


def failures_text(trials: Sequence[FrozenTrial]) -> str:
    """The traceback of each error, once for all the trials that failed with it."""
    from hpo.search.failure_tracker import same_error

    errors: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        failure = record_of(trial).get("failure")
        if failure is not None and failure.get("traceback"):
            errors.setdefault(same_error(failure), []).append(trial)
    blocks = []
    for same in errors.values():
        numbers = ", ".join(str(trial.number) for trial in same[:10]) + (", ..." if len(same) > 10 else "")
        lines = record_of(same[0])["failure"]["traceback"]
        blocks.append(
            "\n".join([f"trial{'s' if len(same) > 1 else ''} {numbers}:", *(f"  {one_line(line)}" for line in lines)])
        )
    return "\n\n".join(blocks)


def _trial(trial: FrozenTrial, objectives: int) -> list[str]:
    state = STATES[trial.state]
    values = list(trial.values or ())[:objectives]
    shown = [score(value) for value in values] + ["-"] * (objectives - len(values))
    seconds = format_short(trial.duration.total_seconds()) if trial.duration else "-"
    about = cell(params_text(trial.params, "  "))
    failure = record_of(trial).get("failure")
    if failure is not None:
        about += f"  [red]{cell(str(failure.get('reason', ''))[:120])}[/]"
        about += f"  {cell(str(failure['where']))}" if failure.get("where") else ""
    return [
        str(trial.number),
        f"[{STYLES[state]}]{state}[/]",
        *shown,
        str(len(trial.intermediate_values)),
        seconds,
        about,
    ]


def _count(state: str, count: int) -> str:
    return f"[bold {STYLES[state]}]{count}[/] {state}" if count else f"[dim]0 {state}[/]"


def _values(trial: FrozenTrial) -> str:
    return ", ".join(score(value) for value in trial.values)


def budget_text(view: StudyView) -> str:
    parts = []
    if view.trials_target is not None:
        parts.append(f"{view.trials_target} trials")
    if view.seconds_left is not None and view.deadline is not None:
        left = format_duration(view.seconds_left) + " left" if view.seconds_left > 0 else "time is up"
        if view.stopped:
            left = "stopped in a dashboard"
        parts.append(
            f"{left} [dim]({'at' if view.stopped else 'until'} {view.deadline.astimezone():%Y-%m-%d %H:%M:%S})[/]"
        )
    return ", ".join(parts) or "[dim]none set[/]"


def _worker(worker: WorkerRow) -> str:
    # A slot may hold whatever its coordinator wrote, so take nothing in it for granted.
    slots = [f"{slot.get('device', '?')} {_slot(slot)}" for slot in worker.slots]
    seen = f"seen {format_duration(worker.silent_seconds)} ago"
    return f"{cell(worker.host)}  {cell('; '.join(slots) or worker.state)}  [dim]{seen}[/]"


def _slot(slot: Any) -> str:
    trial = slot.get("trial")
    return f"trial {trial}" if trial is not None else str(slot.get("state", ""))
