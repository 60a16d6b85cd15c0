"""What the command of a trial printed, as the host that ran it keeps it."""

from __future__ import annotations

from pathlib import Path

from hpo.errors import StudyError
from hpo.ownership import links_below, read_bounded
from hpo.results.reading import StudyView, find_trial
from hpo.storage.trial_record import record_of
from hpo.study.command import output_of

__all__ = ["trial_output"]

MOST_BYTES = 2**20
"""hpo keeps less of a trial; a longer file is not its own."""


def trial_output(view: StudyView, number: int, checkpoints: Path) -> str:
    """Its beginning and its end. StudyError where there is none here, with the host that has it.

    checkpoints: HPO_CHECKPOINT_DIR
    """
    if view.declaration is None or "(command)" not in view.declaration:
        raise StudyError(
            f'study "{view.name}" runs no command: what its trainers print is not kept',
            next=f"`hpo trials --study {view.name} --state failed` has the tracebacks",
        )
    trial = find_trial(view.name, view.trials, number)
    path = output_of(checkpoints / f"{view.name}-{view.uid}" / str(number))
    try:
        if links_below(path, checkpoints):
            raise OSError(f"{path} leads elsewhere by a link")
        return read_bounded(path, MOST_BYTES, links=False).decode(errors="replace")
    except FileNotFoundError as error:
        host = record_of(trial).get("host") or "the host that has run it, if one has"
        raise StudyError(
            f"no output of trial {number} here",
            evidence=[f"looked for {path}"],
            next=f"look on {host}, where it is kept under HPO_CHECKPOINT_DIR; hosts may share that folder",
        ) from error
    except OSError as error:
        raise StudyError(f"the output of trial {number} cannot be read: {error}") from error
