"""Our tables, beside Optuna's in the same database. Times are the database's; doubles hold NaN."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Double, Index, Integer, MetaData, String, Table, Text, func, text

__all__ = [
    "CHANGE",
    "COUNTED_ATTEMPTS",
    "COUNTED_DEATHS",
    "LOCK",
    "UTC_NOW",
    "NoStudy",
    "changes",
    "epochs",
    "evaluation_runs",
    "evaluations",
    "leases",
    "metadata",
    "schema",
    "sources",
    "studies",
    "workers",
]

UTC_NOW = "(clock_timestamp() AT TIME ZONE 'UTC')"
"""SQL: now, as Optuna stores it."""
CHANGE = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
"""SQL: the number of this transaction, as hpo_changes keeps it."""
LOCK = 0x68706F
"""The key of hpo's advisory locks ("hpo"): alone for whoever makes the tables, with a study's id for a claim."""
_GOT_ON = "EXISTS (SELECT 1 FROM hpo_epochs e WHERE e.trial_id = l.trial_id AND e.recorded_at > l.claimed_at)"
COUNTED_ATTEMPTS = f"CASE WHEN {_GOT_ON} THEN 1 ELSE least(l.attempt, 1000000) END"
"""SQL: the attempts of the trial of a lease `l` since it last finished an epoch. An attempt that finished one has shown
that the trial does not kill its trainers. Epochs reported again keep their first recorded_at. At most a million,
whatever stands there: one more than the largest would not fit into the column."""
COUNTED_DEATHS = f"CASE WHEN {_GOT_ON} THEN 0 ELSE least(l.trainer_deaths, 1000000) END"
"""SQL: how many of these attempts ended because a trainer died. All others but the last ended with a lost host."""


class NoStudy(KeyError):
    """The study is not in the database, or not any more."""


metadata = MetaData()
_now = func.now()

studies = Table(
    "hpo_studies",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False),
    Column("declaration", Text, nullable=False),  # JSON: the table of parameters and the protocol
    Column("source", Text, nullable=False),  # path of the study's file
    Column("seed", Integer, nullable=False),
    Column("deadline", DateTime(timezone=True)),
    Column("trials_target", Integer),
    Column("facts", Text, nullable=False),  # JSON: uid, job, git commit, versions
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

leases = Table(
    "hpo_leases",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("study_id", Integer, nullable=False, index=True),
    Column("worker_id", Text),  # the holder; null when the trial is free or finished
    Column("expires_at", DateTime(timezone=True)),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("trainer_deaths", Integer, nullable=False, server_default=text("0")),  # attempts that ended so
    Column("host", Text),  # that handled it last: its disk may have the checkpoint
    Column("checkpoint", Text),
    Column("claimed_at", DateTime(timezone=True)),
    Index("hpo_leases_held", "worker_id", postgresql_where=text("worker_id IS NOT NULL")),
    Index("hpo_leases_due", "study_id", "expires_at", postgresql_where=text("worker_id IS NOT NULL")),
)

changes = Table(
    "hpo_changes",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("study_id", Integer, nullable=False),
    Column("change", BigInteger, nullable=False),  # the transaction that changed it last: hpo.storage.changes
    Column("note", Text),  # JSON: the trial as that left it, from hpo.storage.notes; null: read its rows
    Column("ended", DateTime),  # when the trial of the note ended, as Optuna stores it
    Index("hpo_changes_order", "study_id", "change"),
)

workers = Table(
    "hpo_workers",
    metadata,
    Column("worker_id", Text, primary_key=True),
    Column("study_id", Integer, nullable=False, index=True),
    Column("host", Text, nullable=False),
    Column("identity", Text, nullable=False),  # JSON: boot id, pid namespace, pid, start time of the process
    Column("slots", Text, nullable=False),  # JSON
    Column("commit", Text),
    Column("code", Text),  # digest of the sources it runs
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("state", String(32), nullable=False),
)

epochs = Table(
    "hpo_epochs",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("train_loss", Double),
    Column("train_accuracy", Double),
    Column("val_loss", Double),
    Column("val_accuracy", Double),
    Column("lr", Double),
    Column("seconds", Double),
    Column("metrics", Text),  # JSON: what the user's own code reported, by name (hpo.own_metrics)
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

evaluation_runs = Table(
    "hpo_evaluation_runs",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("run_key", String(64), primary_key=True),  # of everything that decides the result
    Column("result", Text, nullable=False),  # JSON
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

evaluations = Table(
    "hpo_evaluations",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),  # JSON: docs/evaluation.md
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

sources = Table(
    "hpo_sources",
    metadata,
    Column("code", Text, primary_key=True),  # as in hpo_workers
    Column("files", Text, nullable=False),  # JSON: file name -> digest
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

schema = Table(
    "hpo_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),  # the tables' is the highest: migrations.py
    Column("hpo", Text, nullable=False),  # that made or migrated them
    Column("migrated_at", DateTime(timezone=True), nullable=False, server_default=_now),
)
