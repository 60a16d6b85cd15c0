"""The result of a search: why it stopped, the counts, the answers of hpo.insight, and the next commands."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli.output import emit_rich
from hpo.cli.states import STYLES, counts_text
from hpo.wording import score

if TYPE_CHECKING:
    from hpo.result import Result
    from hpo.results.reading import StudyView
    from hpo.study.study import Study

__all__ = ["emit_summary"]

SHOWN = 3
"""Refused trials that are listed; `hpo trials` has all."""

_REASONS = {
    "deadline": "time is up",
    "dashboard": "stopped in a dashboard; run the same command again to resume",
    "trials": "all trials are done",
    "exhausted": "nothing is left to try",
    "converged": "too little is left to gain",
    "stopped": "the objective called study.stop()",
    "interrupted": "stopped by Ctrl-C; run the same command again to resume",
    "terminated": "stopped by SIGTERM; run the same command again to resume",
    "hangup": "the terminal was closed; run the same command again to resume",
}


def emit_summary(result: Result, study: Study, *, reference: str, name: str, storage: str | None) -> None:
    """The last lines of `hpo run`, on stdout."""
    from hpo.cli.answer_lines import add_rows, tied_text
    from hpo.cli.layout import labelled_lines
    from hpo.cli.output import cell
    from hpo.cli.wrapping import WrappedParameters
    from hpo.insight import insight_of
    from hpo.insight.configurations import tied_with
    from hpo.results.best import outside_text, why_no_baseline, why_no_best
    from hpo.storage.optuna_schema import PRUNED, count_finished
    from hpo.user_code import described_bug

    table = labelled_lines()
    view = _view(result, study, name, storage)
    stopped = "dashboard" if view.stopped and result.stopped == "deadline" else result.stopped
    table.add_row("study", f"[bold]{cell(name)}[/]  {_REASONS.get(stopped, stopped)}")
    paused = " for the next run" if result.counts["waiting"] else ""  # which counts_text names last
    table.add_row("trials", counts_text(result.counts) + paused)
    best = result.best
    if best is None:
        table.add_row("best", f"none: {why_no_best(result.frozen)}")
    else:
        winner = next((trial for trial in result.frozen if trial.number == best.trial), None)
        tied = tied_with(view, winner)
        table.add_row("best", f"[bold {STYLES['complete']}]{score(best.value)}[/]  trial {best.trial}{tied_text(tied)}")
        table.add_row("", WrappedParameters(best.params))
        if len(study.directions) > 1:
            table.add_row("", cell(_front_text(result, study)))
    if outside := outside_text(result.frozen):
        table.add_row("outside", outside)
    if best is not None:
        try:
            add_rows(table, insight_of(view))
        except Exception as error:  # noqa: BLE001 - the search is over, and what it found is shown all the same
            table.add_row("verdict", cell(f"not known: {described_bug(error)}"))
    if stopped == "deadline" and not count_finished(result.counts):
        table.add_row("hint", "starting took all of the time: run it again with a larger --timeout")
    compared = study.has_baseline
    if compared and (missing := why_no_baseline(result.frozen)):
        table.add_row("baseline", cell(f"nothing to compare with: {missing}{_again(missing, reference)}"))
    for index, line in enumerate(_refused(result)):
        table.add_row("" if index else "refused", cell(line))
    code = shlex.quote(reference) + (f" --name {shlex.quote(name)}" if name != study.name else "")
    code = code if study.has_final or not study.brings_training else ""
    pruned = max((trial.number for trial in result.frozen if trial.state.name == PRUNED), default=None)
    for index, command in enumerate(next_commands(name, storage, code, finished=best is not None, pruned=pruned)):
        table.add_row("" if index else "next", cell(command))
    emit_rich("", table)


def _front_text(result: Result, study: Study) -> str:
    """`by loss alone; 3 trials make the Pareto front, ...`: the first objective is not all that was asked for."""
    from hpo.results.best import pareto_front

    count = len(pareto_front(result.frozen, study.directions))
    front = "it alone makes" if count == 1 else f"{count} trials make"
    return f"by {study.objectives[0]} alone; {front} the Pareto front, which `hpo best` shows"


def _refused(result: Result) -> list[str]:
    """Trials that others wrote into the study and hpo could not train, each with its reason."""
    from hpo.storage.trial_record import REFUSED, record_of

    failures = {trial.number: record_of(trial).get("failure", {}) for trial in result.frozen}
    lines = [
        f"trial {number}: {failure.get('reason', '')}"
        for number, failure in failures.items()
        if failure.get("kind") == REFUSED
    ]
    more = [f"and {len(lines) - SHOWN} more: `hpo trials --state failed`"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def _view(result: Result, study: Study, name: str, storage: str | None) -> StudyView:
    """The study as the database has it, with its evaluation; what this process knows where that cannot be read now."""
    from hpo.cli.options import read_stored
    from hpo.results.reading import StudyView

    try:
        return read_stored(name, storage)
    except Exception:  # noqa: BLE001 - no database, or a bug: the search is over, and its last lines are said all the same
        return StudyView(name, study.directions, result.frozen, study.declaration(), objectives=study.objectives)


def _again(missing: str, reference: str) -> str:
    return f"; `hpo run --study {reference} --retry-failed` tries it again" if " failed" in missing else ""


def next_commands(name: str, storage: str | None, code: str, *, finished: bool, pruned: int | None = None) -> list[str]:
    """Commands to paste as they are. A password in the URL is not repeated on the screen.

    code: the study's options for a command that runs its code, which is never taken from a database; "" where no such
          command can run
    pruned: a trial to ask about why it was
    """
    from hpo.storage.engine import hide_password

    where = ""
    if storage is not None and hide_password(storage) == storage:
        where = f" --storage {shlex.quote(storage)}"
    study, hpo = shlex.quote(name), program()
    readers = ("best", "report", *(["evaluate"] if code else [])) if finished else ()
    named = {"evaluate": code}
    commands = [f"{hpo} {reader} --study {named.get(reader, study)}{where}" for reader in (*readers, "trials")]
    why = [f"{hpo} trials --study {study}{where} --why {pruned}"] if pruned is not None else []
    return [*commands, *why, f"{hpo} dashboard{where}"]


def program() -> str:
    """How to call hpo again: after `make run` it is not on the PATH."""
    if shutil.which("hpo"):
        return "hpo"
    called = Path(sys.argv[0])
    return shlex.quote(os.path.relpath(called)) if called.name == "hpo" else "python -m hpo"
