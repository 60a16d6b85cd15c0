"""`hpo status`, `hpo best` and `hpo trials`: what the database says about a study, ours or plain Optuna's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.decisions import show_decisions
from hpo.cli.options import AnyStoredStudyOption, JsonOption, ReadStorageOption, StoredStudyOption, read_stored
from hpo.cli.output import cell, emit, emit_json, emit_rich
from hpo.printable import one_line
from hpo.settings import Settings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.results.reading import StudyView
    from hpo.storage.queries import WorkerRow

__all__ = ["best", "status", "trials"]

WATCH_SECONDS = 2.0


def status(
    study: AnyStoredStudyOption = None,
    storage: ReadStorageOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every two seconds until Ctrl-C.")] = False,
    why: Annotated[bool, typer.Option("--why", help="Why FreezeThaw() trains each trial that has not ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a study's progress: trials by state, the best, the time left, its workers. Without `--study`, list the
    studies of the database, which may be any Optuna database.
    """
    if study is None:
        _show_all(storage, watch or why, as_json)
        return
    if why:
        show_decisions(read_stored(study, storage), watch=watch, as_json=as_json)
    elif watch:
        from hpo.cli.following import follow

        follow(study, storage, WATCH_SECONDS, _show_status, as_json=as_json)
    else:
        _show_status(read_stored(study, storage), as_json)


def best(study: StoredStudyOption, storage: ReadStorageOption = None, as_json: JsonOption = False) -> None:
    """Show the best trial: complete, finite, every constraint held. With several objectives, the Pareto front."""
    view = read_stored(study, storage, metrics=as_json)
    winner = _winner(view)
    if as_json:
        document = {**best_json(view.name, winner), "metrics": _metrics(view, winner), "insight": _insight_json(view)}
        if len(view.directions) > 1:
            document["front"] = [_trial_json(view, trial) for trial in _front(view)]
        elif command := _command_of(winner):
            document["command"] = command
        emit_json(document)
        return
    from hpo.cli.study_tables import best_lines, trials_table

    if len(view.directions) > 1:
        front = _front(view)
        many = f"{len(front)} trial{'s' if len(front) != 1 else ''}"
        emit_rich(
            f"Pareto front of {cell(', '.join(view.objectives))}: {many} that no other beats in every objective",
            "",
            trials_table(front, objectives=len(view.directions)),
        )
        return
    from hpo.insight import insight_of

    emit_rich(*best_lines(view, insight_of(view), winner))
    if command := _command_of(winner):
        emit(f"\nthe command of trial {winner.number}:\n{command}")


def trials(
    study: StoredStudyOption,
    storage: ReadStorageOption = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state", metavar="STATE", help="Only trials that are complete, pruned, failed, running or waiting."
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, help="Only the N best, best first.", show_default=False)
    ] = None,
    output: Annotated[
        int | None,
        typer.Option("--output", metavar="N", min=0, help="What the command of trial N printed.", show_default=False),
    ] = None,
    why: Annotated[
        int | None,
        typer.Option("--why", metavar="N", min=0, help="Why trial N ended as it did.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List a study's trials by number, or the best ones first. `--state failed` also prints each error's traceback."""
    view = read_stored(study, storage, metrics=as_json)
    if output is not None or why is not None:
        _check_one_trial(output, why, state, top)
        if output is not None:
            _show_output(view, output, as_json=as_json)
        elif why is not None:
            _show_why(view, why, as_json=as_json)
        return
    chosen = _chosen(view, state, top)
    if as_json:
        emit_json([_trial_json(view, trial) for trial in chosen])
        return
    if not chosen:
        emit(one_line(_none_text(view, state, top)))
        return
    from hpo.cli.study_tables import failures_text, trials_table

    emit_rich(trials_table(chosen, objectives=len(view.directions)))
    if state == "failed" and (failures := failures_text(chosen)):
        emit(f"\n{failures}")


def _check_one_trial(output: int | None, why: int | None, state: str | None, top: int | None) -> None:
    from hpo.errors import UsageError

    given = [name for name, value in (("--output", output), ("--why", why)) if value is not None]
    if len(given) > 1 or state is not None or top is not None:
        raise UsageError(f"{given[0]} is about one trial", next="leave --state, --top and the other one out")


def _show_why(view: StudyView, number: int, *, as_json: bool) -> None:
    from hpo.insight.why import why

    found = why(view, number)
    if as_json:
        emit_json({"study": view.name, **found.document()})
        return
    emit(one_line(f"trial {number}, {found.state}: {found.sentences[0]}"))
    for sentence in found.sentences[1:]:
        emit(one_line(f"  {sentence}"))


def _show_output(view: StudyView, number: int, *, as_json: bool) -> None:
    from hpo.results.output import trial_output

    printed = trial_output(view, number, Settings.read().checkpoint_dir)
    if as_json:
        emit_json({"study": view.name, "trial": number, "output": printed})
    else:
        emit(printed.rstrip("\n").replace("\r\n", "\n").replace("\r", "\n"))


def _command_of(trial: FrozenTrial) -> str:
    """The line that repeats a trial of a command; "" for any other."""
    from hpo.storage.trial_record import record_of

    return record_of(trial).get("command", "")


def best_json(name: str, trial: FrozenTrial) -> dict[str, Any]:
    return {"study": name, "trial": trial.number, "value": trial.values[0], "params": dict(trial.params)}


def status_json(view: StudyView) -> dict[str, Any]:
    winner = view.best
    workers = [
        {
            "worker": one.worker_id,
            "host": one.host,
            "state": one.state,
            "seen_seconds": one.silent_seconds,
            "slots": one.slots,
        }
        for one in present_workers(view)
    ]
    return {
        "study": view.name,
        "counts": view.counts,
        "best": best_json(view.name, winner) if winner is not None else None,
        "deadline": view.deadline.isoformat() if view.deadline else None,
        "seconds_left": view.seconds_left,
        "stopped": view.stopped,
        "trials_target": view.trials_target,
        "workers": workers,
        "insight": _insight_json(view),
    }


def _insight_json(view: StudyView) -> dict[str, Any]:
    from hpo.insight import insight_of

    return insight_of(view).document()


def present_workers(view: StudyView) -> list[WorkerRow]:
    """Workers heard from recently. The leases of a silent one have run out, so other workers have its trials."""
    silent = Settings.read().lease_seconds
    return [one for one in view.workers if one.is_at_work(silent)]


def _show_all(storage: str | None, watch: bool, as_json: bool) -> None:
    from hpo.cli.listing import read_all, studies_table
    from hpo.errors import UsageError

    if watch:
        raise UsageError("--watch and --why are about one study", next="say which with --study")
    views = read_all(storage)
    if as_json:
        emit_json([status_json(view) for view in views])
        return
    emit_rich(studies_table(views))


def _show_status(view: StudyView, as_json: bool) -> None:
    if as_json:
        emit_json(status_json(view))
        return
    from hpo.cli.study_tables import status_lines
    from hpo.insight import insight_of

    emit_rich(status_lines(view, insight_of(view), present_workers(view)))


def _winner(view: StudyView) -> FrozenTrial:
    from hpo.cli.states import counts_text
    from hpo.errors import StudyError
    from hpo.results.best import why_no_best

    winner = view.best
    if winner is None:
        raise StudyError(
            f'study "{view.name}" has no best trial yet',
            evidence=[
                counts_text(view.counts),
                why_no_best(view.trials),
                "a best trial is complete, finite, and holds every constraint",
            ],
            next=f"`hpo status --study {view.name}` shows its progress",
        )
    return winner


def _front(view: StudyView) -> list[FrozenTrial]:
    from hpo.results.best import pareto_front

    return pareto_front(view.trials, view.directions)


def _chosen(view: StudyView, state: str | None, top: int | None) -> list[FrozenTrial]:
    from hpo.cli.states import COUNTS
    from hpo.errors import UsageError, near_miss
    from hpo.results.best import ranked
    from hpo.storage.optuna_schema import STATES

    if state is not None and state not in COUNTS:
        raise UsageError(f'--state "{state}" is not a state of a trial', evidence=[near_miss(state, COUNTS)])
    found = ranked(view.trials, view.directions) if top else list(view.trials)
    if state is not None:
        found = [trial for trial in found if STATES[trial.state] == state]
    return found[:top]


def _none_text(view: StudyView, state: str | None, top: int | None) -> str:
    from hpo.results.best import why_no_best

    if not view.trials:
        return f"{view.name} has no trials yet"
    if top:
        among = "" if state in (None, "complete") else f", and --top takes complete ones, not {state} ones"
        return f"{view.name} has no best trials: {why_no_best(view.trials)}{among}"
    return f"{view.name} has no {state} trials"


def _metrics(view: StudyView, trial: FrozenTrial) -> dict[str, float]:
    """What counts for a trial that has ended, the best epoch's where hpo trains; else what it reported last."""
    from hpo.storage.trial_record import record_of

    return {**view.metrics.get(trial.number, {}), **record_of(trial).get("metrics", {})}


def _trial_json(view: StudyView, trial: FrozenTrial) -> dict[str, Any]:
    from hpo.storage.optuna_schema import STATES
    from hpo.storage.trial_record import record_of

    # Optuna's times are naive and local; with their offset they mean the same everywhere.
    seconds = trial.duration.total_seconds() if trial.duration else None
    return {
        "trial": trial.number,
        "state": STATES[trial.state],
        "values": trial.values,
        "params": dict(trial.params),
        "steps": len(trial.intermediate_values),
        "metrics": _metrics(view, trial),
        "started": trial.datetime_start.astimezone().isoformat() if trial.datetime_start else None,
        "seconds": seconds,
        "constraints": dict(trial.constraints),
        "failure": record_of(trial).get("failure"),
    }
