"""Trials that failed by a bug, tried again: all of them when asked to, the baseline by itself once the code changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

from hpo.errors import StudyError
from hpo.search.code import files_of, source_digests
from hpo.storage import queries
from hpo.storage.optuna_internals import trial_id_of
from hpo.storage.trial_record import REFUSED, record_of
from hpo.study.study import Study

__all__ = ["check_alone", "try_again"]

SHOWN = 10


def check_alone(study: Study, others: Sequence[queries.WorkerRow], what: str, option: str) -> None:
    """Raise StudyError for `option` while others work on the study: they know it as it was. what: cannot be done."""
    if others:
        raise StudyError(
            f'study "{study.name}" has an active run, so {what}',
            evidence=[f"{one.host}   last seen {one.silent_seconds:.0f} s ago" for one in others[:SHOWN]],
            next=f"stop the other run (Ctrl-C there), then give {option} again",
        )


def try_again(
    connection: Connection, study: Study, study_id: int, *, everything: bool, target: int | None = None
) -> str:
    """Put failed trials back into the queue, and say so; "" where there is nothing to say.

    everything: each trial that failed by itself. Otherwise only the baseline, if it failed with other code than now;
    the others count as finished, and the sentence says so. Trials that somebody failed by hand, or that were refused
    for values that others gave them, are never touched.
    target: the number of trials asked for, if any. Raises StudyError if it leaves no room to try any of them again.
    """
    failed = [trial for trial in queries.read_failed(connection, study_id) if _failed_by_itself(trial)]
    if not failed:
        return ""
    chosen = failed if everything else [
        trial for trial in _with_other_code(connection, study, study_id, failed)
        if record_of(trial).get("origin") == "baseline"
    ]  # fmt: skip
    if everything and target is not None:
        _check_target(connection, study_id, target, len(chosen))
    queries.put_back(connection, [trial_id_of(trial) for trial in chosen])
    left = _with_other_code(connection, study, study_id, [trial for trial in failed if trial not in chosen])
    sentences = []
    if everything:
        sentences.append(f"tried again: {_named(failed)}")
    elif chosen:
        sentences.append("the baseline failed with other code: it is tried again")
    if left:
        sentences.append(
            f"{_named(left)} failed with other code and count{'s' if len(left) == 1 else ''} as finished; "
            "--retry-failed tries again"
        )
    return "; ".join(sentences)


def _check_target(connection: Connection, study_id: int, target: int, failed: int) -> None:
    counts = queries.counts(connection, study_id)
    finished = sum(count for state, count in counts.items() if state.is_finished())
    if target <= finished - failed:
        raise StudyError(
            f"--trials {target} leaves no failed trial to try again",
            evidence=[f"{finished} trials are finished, {failed} of them failed"],
            next=f"--trials {finished} tries them again",
        )


def _failed_by_itself(trial: FrozenTrial) -> bool:
    failure = record_of(trial).get("failure")
    return trial.state is TrialState.FAIL and failure is not None and failure.get("kind") != REFUSED


def _with_other_code(
    connection: Connection, study: Study, study_id: int, failed: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    """Those that were trained with other files than today's, as far as both are known."""
    now = source_digests(study)
    before: dict[str, Mapping[str, str]] = {}
    changed = []
    for trial in failed:
        worker = record_of(trial).get("worker", "")
        if worker not in before:
            before[worker] = files_of(connection, study_id, worker)
        files = before[worker]
        if any(files[name] != now[name] for name in files.keys() & now.keys()):
            changed.append(trial)
    return changed


def _named(trials: Sequence[FrozenTrial]) -> str:
    numbers = ", ".join(str(trial.number) for trial in trials[:SHOWN]) + (", ..." if len(trials) > SHOWN else "")
    return f"{len(trials)} failed trial{'s' if len(trials) != 1 else ''} ({numbers})"
