"""Everything that reads or writes rows, under one name: `from hpo.storage import queries`.

Plain functions over a SQLAlchemy Connection inside the caller's transaction. Errors are SQLAlchemy's: pass them to
`hpo.storage.engine.storage_error` or `is_outage`.
"""

from __future__ import annotations

from hpo.storage.changes import Changes, Horizon, horizon_now, read_changed
from hpo.storage.claims import Claim, claim, claim_these, enqueue
from hpo.storage.history import read_history
from hpo.storage.leases import (
    Expired,
    HeldTrial,
    ReapResult,
    expired,
    held_elsewhere,
    reap,
    release_worker,
    renew,
    renew_and_look,
    sign_off,
)
from hpo.storage.news import read_news
from hpo.storage.reads import read_changes, read_epochs, read_failed, read_metrics, states
from hpo.storage.retries import put_back
from hpo.storage.save import save
from hpo.storage.sources import keep_sources, read_sources
from hpo.storage.stopping import is_stopped, resume_study, stop_study
from hpo.storage.studies import (
    Budget,
    RegisteredStudy,
    StudyRow,
    budget,
    counts,
    create_study,
    declaration,
    delete_study,
    find_study,
    holds_our_trials,
    list_studies,
    lock_budget,
    register,
    set_budget,
    study_attrs,
)
from hpo.storage.tables import NoStudy
from hpo.storage.workers import WorkerRow, at_work, list_workers, register_worker
from hpo.storage.write_batch import EpochRow, Requeue, SaveResult, TrialResult, WriteBatch

__all__ = [
    "Budget",
    "Changes",
    "Claim",
    "EpochRow",
    "Expired",
    "HeldTrial",
    "Horizon",
    "NoStudy",
    "ReapResult",
    "RegisteredStudy",
    "Requeue",
    "SaveResult",
    "StudyRow",
    "TrialResult",
    "WorkerRow",
    "WriteBatch",
    "at_work",
    "budget",
    "claim",
    "claim_these",
    "counts",
    "create_study",
    "declaration",
    "delete_study",
    "enqueue",
    "expired",
    "find_study",
    "held_elsewhere",
    "holds_our_trials",
    "horizon_now",
    "is_stopped",
    "keep_sources",
    "list_studies",
    "list_workers",
    "lock_budget",
    "put_back",
    "read_changed",
    "read_changes",
    "read_epochs",
    "read_failed",
    "read_history",
    "read_metrics",
    "read_news",
    "read_sources",
    "reap",
    "register",
    "register_worker",
    "release_worker",
    "renew",
    "renew_and_look",
    "resume_study",
    "save",
    "set_budget",
    "sign_off",
    "states",
    "stop_study",
    "study_attrs",
]
