"""What a trial left in the database: enough to train it again without its study file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hpo.errors import StudyError
from hpo.messages import Job
from hpo.results.reading import find_trial, read_study
from hpo.storage import queries
from hpo.storage.engine import storage_error
from hpo.storage.optuna_schema import STATES
from hpo.storage.trial_record import TrialRecord, make_record, record_of

__all__ = ["Record", "read_record"]


@dataclass(frozen=True)
class Record:
    """One finished trial. `job` has everything about how it was trained, and keeps no checkpoint.

    ending:      "complete", "pruned", or how training failed: "diverged", "out_of_memory", "failed"
    curve:       a row of hpo_epochs for each epoch, the first one first
    facts:       the trial's user attributes: device, versions, data_checksum and so on
    declaration: the study's table when it was started; source: the file that declared it
    sources:     file name -> digest of the code that it ran; None where that was not recorded
    """

    study: str
    number: int
    ending: str
    job: Job
    curve: tuple[Mapping[str, Any], ...]
    facts: TrialRecord
    declaration: Mapping[str, str]
    source: str
    sources: Mapping[str, str] | None

    @property
    def cut_by_the_clock(self) -> bool:
        """Whether `max_seconds` ended it. Then its last epoch has only the steps that there was time for."""
        return self.ending == "complete" and bool(self.facts.get("out_of_time"))


def read_record(engine: Engine, name: str, number: int) -> Record:
    """Trial `number` of the stored study `name`. StudyError if it does not exist, is not finished or is not hpo's."""
    view = read_study(engine, name)
    if view.declaration is None:
        raise _not_ours(name)
    try:
        with engine.connect() as connection:
            return _read(connection, name, view.trials, number)
    except SQLAlchemyError as error:
        raise storage_error(error, engine.url.render_as_string(hide_password=False)) from error


def _read(connection: Connection, name: str, trials: Sequence[FrozenTrial], number: int) -> Record:
    found = queries.find_study(connection, name)
    assert found is not None
    trial = find_trial(name, trials, number)
    stored = queries.declaration(connection, found.study_id)
    ending, facts = _ending(trial), record_of(trial)
    if stored is None or "job" not in stored.facts:
        raise _not_ours(name)
    if ending is None or "config" not in facts or "seed" not in facts:
        raise StudyError(
            f"trial {number} left nothing to reproduce",
            evidence=[f"it is {STATES[trial.state]}{_why(trial, facts)}"],
            next=f"`hpo trials --study {name}` lists those that finished",
        )
    job = _job(name, stored.facts["job"])
    protocol = replace(job.protocol, epochs=facts.get("planned_epochs", job.protocol.epochs))
    return Record(
        study=name,
        number=number,
        ending=ending,
        job=replace(
            job,
            protocol=protocol,
            trial_id=1,
            number=number,
            config=facts["config"],
            seed=facts["seed"],
            checkpoint="",
            kernels=facts.get("kernels") or {"unmeasured": True},  # earlier versions measured nothing
        ),
        curve=tuple(row for row in queries.read_epochs(connection, found.study_id) if row["trial"] == number),
        facts=_with_checksum(facts, trials),
        declaration=stored.declaration,
        source=stored.source,
        sources=_sources(connection, found.study_id, facts.get("worker")),
    )


def _job(name: str, stored: Any) -> Job:
    """The job in the study's record. Parts of a wrong type fail in the trainer, as those of a trial do."""
    kinds = {"config": dict, "model": dict, "dataset": dict, "sys_path": list}
    fits = isinstance(stored, dict) and all(isinstance(stored.get(key), kind) for key, kind in kinds.items())
    try:
        if fits:
            return Job.from_json(stored)
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise _not_ours(name)


def _not_ours(name: str) -> StudyError:
    return StudyError(
        f'study "{name}" does not say how its trials were trained',
        evidence=["it was made by plain Optuna, or by an early hpo that did not record it"],
    )


def _ending(trial: FrozenTrial) -> str | None:
    if not trial.state.is_finished():
        return None
    kind = record_of(trial).get("failure", {}).get("kind")
    return (
        str(kind) if kind else STATES[trial.state] if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    )


def _why(trial: FrozenTrial, facts: TrialRecord) -> str:
    if not trial.state.is_finished():
        return ""
    return "; hpo did not train it" if facts.get("failure") is None else f"; its failure was {facts['failure']}"


def _with_checksum(facts: TrialRecord, trials: Sequence[FrozenTrial]) -> TrialRecord:
    """A pruned trial does not record its data's checksum; others of its study do, and all of them use the same data."""
    seen = {record["data_checksum"] for record in map(record_of, trials) if "data_checksum" in record}
    return make_record({"data_checksum": seen.pop() if len(seen) == 1 else None}, facts)


def _sources(connection: Connection, study_id: int, worker_id: Any) -> Mapping[str, str] | None:
    for worker in queries.list_workers(connection, study_id):
        if worker.worker_id == worker_id and worker.code is not None:
            return queries.read_sources(connection, worker.code)
    return None
