"""What a host has to learn of a study since it last looked: each trial from its note, or from its own rows."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from hpo.storage.changes import Horizon, read_changed
from hpo.storage.optuna_internals import trial_id_of
from hpo.storage.reads import LARGEST_ID, read_changes
from hpo.storage.study_cache import StudyCache

__all__ = ["read_news"]


def read_news(
    connection: Connection, study_id: int, cache: StudyCache, also: Iterable[int] = ()
) -> tuple[list[FrozenTrial], Horizon]:
    """The trials that changed since `cache.horizon` and those in `also`, as `read_changes` gives them; and where to go
    on. What has a note is one row of one statement, and the rest two statements more."""
    changes = read_changed(connection, study_id, cache.horizon)
    wanted = cache.ids_to_read([*changes.trial_ids, *also])
    noted = {trial_id: cache.notes.read(trial_id, *changes.notes.get(trial_id, (None, None))) for trial_id in wanted}
    bare = [trial_id for trial_id, trial in noted.items() if trial is None]
    for trial in read_changes(connection, study_id, LARGEST_ID, bare) if bare else []:
        for distribution in trial.distributions.values():
            cache.notes.learn(distribution)
        noted[trial_id_of(trial)] = trial
    return [trial for trial in noted.values() if trial is not None], changes.horizon
