"""What `hpo evaluate` found: one row per run, so an interrupted evaluation can resume, and one document per study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy
from optuna.artifacts import ArtifactMeta
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from hpo.decoding import decoded_or
from hpo.names import is_artifact_id
from hpo.storage import tables
from hpo.storage.optuna_internals import artifact_key
from hpo.storage.optuna_schema import STUDY_SYSTEM_ATTRS, SYSTEM_ATTRS, table

__all__ = [
    "EVALUATION_FORMAT",
    "add_artifact",
    "read_artifacts",
    "read_evaluation",
    "read_runs",
    "save_evaluation",
    "save_run",
]

EVALUATION_FORMAT = 1
"""Increased when the document changes in a way that breaks older readers."""


def read_evaluation(connection: Connection, study_id: int) -> dict[str, Any] | None:
    """The document of the study's last `hpo evaluate` (docs/evaluation.md), or None.

    For reports: also works on databases that never had our tables.
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
    """Keep the result of one run. It replaces an unusable one, and one that another evaluation has just kept."""
    row = {"study_id": study_id, "run_key": run_key, "result": json.dumps(result)}
    kept = insert(tables.evaluation_runs).values(**row)
    key = [tables.evaluation_runs.c.study_id, tables.evaluation_runs.c.run_key]
    connection.execute(kept.on_conflict_do_update(index_elements=key, set_={"result": kept.excluded.result}))


def add_artifact(connection: Connection, study_id: int, trial_id: int | None, meta: ArtifactMeta) -> None:
    """Attach an artifact to a trial, or to the study, as `optuna.artifacts.upload_artifact` does, which refuses trials
    that have finished."""
    value = json.dumps(json.dumps(asdict(meta)))  # a system attribute holds JSON, and Optuna stores the text as one
    attributes, owner = _attributes(study_id, trial_id)
    connection.execute(attributes.insert().values(**owner, key=artifact_key(meta.artifact_id), value_json=value))


def read_artifacts(connection: Connection, study_id: int, trial_id: int | None) -> list[tuple[str, str]]:
    """(id, file name) of the artifacts of a trial, or of the study. Anything but an id of Optuna is left out."""
    attributes, owner = _attributes(study_id, trial_id)
    query = select(attributes.c.value_json).where(
        attributes.c.key.startswith(artifact_key(""), autoescape=True),
        *(attributes.c[column] == value for column, value in owner.items()),
    )
    found = [decoded_or(decoded_or(text, ""), {}) for text in connection.execute(query).scalars()]
    return [
        (meta["artifact_id"], str(meta.get("filename"))) for meta in found if is_artifact_id(meta.get("artifact_id"))
    ]


def _attributes(study_id: int, trial_id: int | None) -> tuple[sqlalchemy.Table, dict[str, int]]:
    """The table of system attributes, and whose they are."""
    if trial_id is None:
        return table(STUDY_SYSTEM_ATTRS), {"study_id": study_id}
    return table(SYSTEM_ATTRS), {"trial_id": trial_id}
