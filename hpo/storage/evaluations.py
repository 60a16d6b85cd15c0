"""What `hpo evaluate` found: one row per run, so that an interrupted evaluation goes on, and one document per study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy
from optuna.artifacts import ArtifactMeta
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from hpo.storage import tables
from hpo.storage.decoding import decoded_or
from hpo.storage.optuna_internals import artifact_key
from hpo.storage.optuna_schema import SYSTEM_ATTRS, table

__all__ = ["EVALUATION_FORMAT", "add_trial_artifact", "read_evaluation", "read_runs", "save_evaluation", "save_run"]

EVALUATION_FORMAT = 1
"""Counts up when a reader of the older document would break."""


def read_evaluation(connection: Connection, study_id: int) -> dict[str, Any] | None:
    """The document of the study's last `hpo evaluate` (docs/evaluation.md), None where there is none.

    For reports: also answers on databases that never had our tables.
    """
    evaluations = tables.evaluations
    if not sqlalchemy.inspect(connection).has_table(evaluations.name):
        return None
    text = connection.execute(select(evaluations.c.document).where(evaluations.c.study_id == study_id)).scalar()
    return None if text is None else decoded_or(text, {})


def save_evaluation(connection: Connection, study_id: int, document: Mapping[str, Any]) -> None:
    """Make `document` the study's evaluation."""
    row = {"study_id": study_id, "document": json.dumps(document)}
    changed = {"document": row["document"], "recorded_at": func.now()}
    connection.execute(
        insert(tables.evaluations).values(**row).on_conflict_do_update(index_elements=["study_id"], set_=changed)
    )


def read_runs(connection: Connection, study_id: int) -> dict[str, dict[str, Any]]:
    """Results of the runs that are done, by run key."""
    runs = tables.evaluation_runs
    found = connection.execute(select(runs.c.run_key, runs.c.result).where(runs.c.study_id == study_id))
    return {key: decoded_or(result, {}) for key, result in found}


def save_run(connection: Connection, study_id: int, run_key: str, result: dict[str, Any]) -> None:
    """Keep the result of one run; the first one stays."""
    row = {"study_id": study_id, "run_key": run_key, "result": json.dumps(result)}
    connection.execute(insert(tables.evaluation_runs).values(**row).on_conflict_do_nothing())


def add_trial_artifact(connection: Connection, trial_id: int, meta: ArtifactMeta) -> None:
    """Attach an artifact as `optuna.artifacts.upload_artifact` does, which refuses trials that have finished."""
    value = json.dumps(json.dumps(asdict(meta)))  # a system attribute holds JSON, and Optuna stores the text as one
    connection.execute(
        table(SYSTEM_ATTRS).insert().values(trial_id=trial_id, key=artifact_key(meta.artifact_id), value_json=value)
    )
