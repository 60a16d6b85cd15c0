"""Results that could not be saved before a process had to leave, kept in `home`/journal for the next `hpo` command.

A file per process, a line per trial:

    <SHA-256 of the rest> {"uid": ..., "study_id": ..., "worker_id": ..., "trial_id": ..., "finish": ..., ...}

Each line is complete by itself, so a damaged one costs only that trial's line: the trial resumes from its checkpoint.
The same holds for a line that is whole and means nothing here, such as one of another version of hpo.
Replaying is idempotent: a process that dies between the commit and the removal of the file does no harm. A study is
identified by its uid, so no journal is written into another database that happens to use the same numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import TrialState
from sqlalchemy import Connection, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DataError

from hpo.atomic_file import AtomicFile
from hpo.decoding import decoded_or
from hpo.own_metrics import metrics_from
from hpo.storage.optuna_schema import TRIALS
from hpo.storage.save import save
from hpo.storage.write_batch import EpochRow, Requeue, TrialResult, WriteBatch

__all__ = ["Origin", "keep", "orphans", "replay"]


@dataclass(frozen=True)
class Origin:
    """Whose writes they are. uid: of the study, from its record in the database."""

    uid: str
    study_id: int
    worker_id: str


def keep(home: Path, origin: Origin, writes: WriteBatch) -> Path:
    """Write `writes` to a new journal file, flushed to disk, and return its path. OSError when the disk refuses."""
    path = home / "journal" / f"{origin.uid}-{uuid4().hex[:12]}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with AtomicFile(path, durable=True) as file:
        for trial_id in sorted(writes.trial_ids()):
            file.write(_line({**asdict(origin), **_of_trial(writes, trial_id)}))
        for kind in ("study_user_attrs", "study_system_attrs"):
            for attributes in getattr(writes, kind).values():
                file.write(_line({**asdict(origin), kind: attributes}))
    return path


def replay(engine: Engine, home: Path) -> list[str]:
    """Write every journal file of this database into it, remove the file, and return what to tell the user.

    A trial that another host has finished or taken up meanwhile keeps what that host says. Raises SQLAlchemy's errors,
    with the file in question still in place.
    """
    told: list[str] = []
    for path in sorted((home / "journal").glob("*.jsonl")):
        records, damaged = _read(path)
        try:
            with engine.begin() as connection:
                mine = [record for record in records if _is_here(connection, record)]
                if len(mine) < len(records):
                    continue  # of another database; it is replayed when that one is opened
                told += _write(connection, mine)
        except (DataError, TypeError, ValueError):  # no number or text that the database takes
            damaged += len(records)
        if damaged:
            told += _put_aside(path, damaged)
        path.unlink(missing_ok=True)
    return told


def orphans(home: Path, uids: Collection[str]) -> list[Path]:
    """The journal files of studies that are not in `uids`: nothing will ever replay them."""
    return [path for path in sorted((home / "journal").glob("*.jsonl")) if path.name.partition("-")[0] not in uids]


def _put_aside(path: Path, damaged: int) -> list[str]:
    with suppress(FileNotFoundError):  # another process was faster, and reports it
        kept = path.rename(path.with_suffix(".damaged"))
        return [f"{damaged} damaged line{'s' if damaged > 1 else ''} of the journal passed over, kept in {kept}"]
    return []


def _write(connection: Connection, records: list[dict[str, Any]]) -> list[str]:
    by_worker: dict[str, WriteBatch] = {}
    for record in records:
        _add(by_worker.setdefault(record["worker_id"], WriteBatch()), record)
    told = []
    for worker_id, writes in by_worker.items():
        result = save(connection, writes, worker_id, adopt=True)
        numbers = _numbers(connection, sorted(result.finished.keys() | (result.lost.keys() & writes.finishes.keys())))
        if result.finished:
            told.append(f"from the journal: the outcome of trial {_listed(result.finished, numbers)}")
        dropped = {trial_id: state for trial_id, state in result.lost.items() if trial_id in writes.finishes}
        if dropped:
            told.append(
                f"dropped from the journal, as others took it up or ended it: trial {_listed(dropped, numbers)}"
            )
    return told


def _listed(trial_ids: Any, numbers: dict[int, int]) -> str:
    return ", ".join(str(numbers.get(trial_id, "(deleted)")) for trial_id in sorted(trial_ids))


def _numbers(connection: Connection, trial_ids: list[int]) -> dict[int, int]:
    query = text(f"SELECT trial_id, number FROM {TRIALS} WHERE trial_id = ANY(CAST(:ids AS int[]))")
    return {row[0]: row[1] for row in connection.execute(query, {"ids": trial_ids})}


def _is_here(connection: Connection, record: dict[str, Any]) -> bool:
    if connection.execute(text("SELECT to_regclass('hpo_studies')")).scalar() is None:
        return False
    query = text("SELECT facts FROM hpo_studies WHERE study_id = :study")
    facts = connection.execute(query, {"study": record["study_id"]}).scalar()
    return facts is not None and decoded_or(facts, {}).get("uid") == record["uid"]


def _line(record: dict[str, Any]) -> bytes:
    payload = json.dumps(record)
    return f"{hashlib.sha256(payload.encode()).hexdigest()} {payload}\n".encode()


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a file, and how many are damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return [], 0  # another process was faster
    records = []
    for line in lines:
        digest, _, payload = line.partition(b" ")
        if hashlib.sha256(payload).hexdigest().encode() == digest and (record := _record(payload)) is not None:
            records.append(record)
    return records, len(lines) - len(records)


def _record(payload: bytes) -> dict[str, Any] | None:
    """A line without its digest; None unless `keep` could have written it for a study, or for a trial."""
    try:
        record = json.loads(payload)
        _add(WriteBatch(), record)
        known = record["uid"], record["worker_id"], record["study_id"], record.get("trial_id", 0)
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return None
    return record if [type(each) for each in known] == [str, str, int, int] else None


def _of_trial(writes: WriteBatch, trial_id: int) -> dict[str, Any]:
    finish, requeue = writes.finishes.get(trial_id), writes.requeues.get(trial_id)
    params = writes.params.get(trial_id, {})
    return {
        "trial_id": trial_id,
        "params": [[name, value, distribution_to_json(kind)] for name, (value, kind) in params.items()],
        "intermediate": list(writes.intermediate.get(trial_id, {}).items()),
        "epochs": [asdict(row) for (owner, _), row in writes.epochs.items() if owner == trial_id],
        "user_attrs": writes.user_attrs.get(trial_id, {}),
        "system_attrs": writes.system_attrs.get(trial_id, {}),
        "finish": None if finish is None else [finish.state.name, finish.values],
        "requeue": None if requeue is None else [requeue.trainer_deaths, requeue.checkpoint],
    }


def _add(writes: WriteBatch, record: dict[str, Any]) -> None:
    for kind in ("study_user_attrs", "study_system_attrs"):
        if kind in record:
            getattr(writes, kind).setdefault(record["study_id"], {}).update(record[kind])
    if "trial_id" not in record:
        return
    trial_id = record["trial_id"]
    for name, value, kind in record["params"]:
        writes.set_param(trial_id, name, value, json_to_distribution(kind))
    for step, value in record["intermediate"]:
        writes.report(trial_id, step, value)
    for row in record["epochs"]:
        writes.epoch(EpochRow(**{**row, "metrics": metrics_from(row.get("metrics"))}))
    for key, value in record["user_attrs"].items():
        writes.set_user_attr(trial_id, key, value)
    for key, value in record["system_attrs"].items():
        writes.set_system_attr(trial_id, key, value)
    if record["finish"]:
        state, values = record["finish"]
        writes.finish(TrialResult(trial_id, TrialState[state], None if values is None else tuple(values)))
    elif record["requeue"]:
        writes.requeue(Requeue(trial_id, *record["requeue"]))
