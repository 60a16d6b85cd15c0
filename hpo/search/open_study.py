"""Opening a study for work: schema, declaration, queue, budget and worker, each in place before the first trial."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from optuna.study import StudyDirection
from sqlalchemy.engine import Connection, Engine

from hpo.errors import StudyError, near_miss
from hpo.sampling.intake import intake_for, trusted_study_attributes
from hpo.search.budget import BudgetDecision, agree, initial_budget
from hpo.search.code import check_finished_code, check_same_code, code_digest, source_digests
from hpo.search.evolve import check_table, evolve
from hpo.search.identity import Identity, own_identity
from hpo.search.queueing import enqueue, fill_queue, lay_out
from hpo.search.reaper import Reaper
from hpo.search.retry import check_alone, try_again
from hpo.search.warm_start import warm_start
from hpo.settings import Settings
from hpo.storage import queries
from hpo.storage.optuna_schema import DIRECTION_OF
from hpo.storage.schema import ensure_schema
from hpo.storage.study_cache import StudyCache
from hpo.study.discovery import FoundStudy
from hpo.study.objective import Objective
from hpo.study.study import Study
from hpo.trainers.jobs import study_job

__all__ = ["OpenOptions", "OpenStudy", "directions_of", "open_study", "prepare_study"]


@dataclass(frozen=True)
class OpenOptions:
    """How a study is to be opened.

    create:         make it if it is new (`hpo run`); False refuses an unknown one (`hpo worker`)
    budget:         what becomes of the study's deadline and trials target. "set": the two fields below replace them,
                    or only extend them while another run is active; "keep": they stay; "once": a deadline that has
                    been set stays until the budget is used up, so that starting the same job again does not postpone it
    enqueue_known:  also enqueue what the study lists as known
    changed_code:   go on although the user's own code changed since the last finished trial
    retry_failed:   put the trials that failed by themselves back into the queue
    evolve:         go on under a table that only widened
    data_checksum:  of the train split, as a trainer has just read it; "": not known
    """

    create: bool = True
    budget: Literal["set", "once", "keep"] = "set"
    timeout_seconds: float | None = None
    trials_target: int | None = None
    enqueue_known: bool = False
    changed_code: bool = False
    retry_failed: bool = False
    evolve: bool = False
    data_checksum: str = ""


@dataclass(frozen=True)
class OpenStudy:
    """uid distinguishes studies of one name in different databases, for checkpoints in one folder.

    agreed: the budget it works under, with a sentence for the user
    note: a sentence for the user about the code that trained the study so far; "" when it is the same
    retried: a sentence for the user about trials that failed before; "" when there is nothing to say
    evolved: lines for the user about a table that has changed just now
    """

    study_id: int
    uid: str
    cache: StudyCache
    agreed: BudgetDecision
    note: str
    retried: str = ""
    evolved: tuple[str, ...] = ()


def open_study(
    engine: Engine,
    found: FoundStudy,
    opening: OpenOptions,
    worker_id: str,
    identity: Identity,
    facts: Mapping[str, Any],
    *,
    live_seconds: float = Settings.lease_seconds,
) -> OpenStudy:
    """Everything a coordinator needs in the database, in one transaction after the schema step.

    live_seconds: a worker that was seen since then is active, and must run the same code. As everywhere, that is how
    long a lease lasts: a worker that is silent for longer has lost its trials.
    Raises DeclarationChanged (nothing written) if the study exists with another table, CodeMismatch if a worker runs,
    or ran, it with other code, StudyError if it is unknown and may not be created, or if hpo did not make it.
    """
    ensure_schema(engine)
    study = found.study
    code, commit = code_digest(study), facts.get("git_commit")
    with engine.begin() as connection:
        study_id, stored = _open(connection, found, opening, facts)
        others = _others(connection, study_id, identity, worker_id, live_seconds)
        evolved = _evolve(connection, found, study_id, stored, opening, others)
        retried = _retry(connection, study, study_id, opening, others)
        agreed = _set_budget(connection, study_id, opening, others)
        check_same_code(connection, study, study_id, code, commit, live_seconds)
        user_attrs, system_attrs = queries.study_attrs(connection, study_id)
        system_attrs = trusted_study_attributes(system_attrs, sum(queries.counts(connection, study_id).values()))
        cache = StudyCache(study_id, study.name, directions_of(study), user_attrs, system_attrs)
        cache.horizon = queries.horizon_now(connection)
        with _no_collections():
            cache.apply(queries.read_history(connection, study_id, intake_for(study)))
        trials = cache.get_all_trials(study_id, deepcopy=False)
        # A worker that is active runs this very code, so the question was answered when it started.
        note = "" if queries.at_work(connection, study_id, live_seconds) else check_finished_code(
            connection, study, study_id, trials, accepted=opening.changed_code, checksum=opening.data_checksum
        )  # fmt: skip
        queries.keep_sources(connection, code, source_digests(study))
        queries.register_worker(
            connection,
            worker_id,
            study_id,
            host=identity.host,
            identity=identity.as_json(),
            slots=[],
            commit=commit,
            code=code,
        )
    return OpenStudy(study_id, stored.uid, cache, agreed, note, retried, evolved)


@contextmanager
def _no_collections() -> Iterator[None]:
    """While a million trials come that stay, Python would walk through all of them again and again for garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def prepare_study(
    engine: Engine,
    found: FoundStudy,
    opening: OpenOptions,
    facts: Mapping[str, Any],
    *,
    live_seconds: float = Settings.lease_seconds,
) -> BudgetDecision:
    """The study in the database with its queue and budget, and no worker yet: for `hpo db init --study`.

    Raises as `open_study` does.
    """
    ensure_schema(engine)
    with engine.begin() as connection:
        study_id, stored = _open(connection, found, opening, facts)
        others = _others(connection, study_id, own_identity(), "", live_seconds)
        evolved = _evolve(connection, found, study_id, stored, opening, others)
        retried = _retry(connection, found.study, study_id, opening, others)
        agreed = _set_budget(connection, study_id, opening, others)
        return replace(agreed, message="; ".join(filter(None, [*evolved, agreed.message, retried])))


def _open(
    connection: Connection, found: FoundStudy, opening: OpenOptions, facts: Mapping[str, Any]
) -> tuple[int, queries.RegisteredStudy]:
    """(study id, our record of it)."""
    study = found.study
    row = queries.find_study(connection, study.name)
    if row is None and not opening.create:
        raise _unknown(study.name, [other.name for other in queries.list_studies(connection)])
    study_id = (
        row.study_id
        if row
        else queries.create_study(connection, study.name, directions_of(study), _names(study), study.description)
    )
    queries.lock_budget(connection, study_id)  # nobody changes the table between this look and the end
    stored = queries.declaration(connection, study_id)
    if row is not None and stored is None:
        raise _foreign(connection, study.name, study_id)
    if stored is None:
        stored = _register(connection, found, study_id, facts)
        fill_queue(connection, study, study_id, warm_start(connection, study))
    elif not opening.evolve:
        counts = queries.counts(connection, study_id)
        check_table(study, stored, sum(number for state, number in counts.items() if state.is_finished()))
    if opening.enqueue_known:
        enqueue(connection, study_id, study, list(study.known), "known")
    return study_id, stored


def _names(study: Study) -> tuple[str, ...]:
    """What the values are called for readers of Optuna's tables. Optuna names the column of a data frame after it, so
    that only names which say something are recorded: of several values, or given by the user."""
    own = study.own
    given = own is not None and (not isinstance(own, Objective) or own.metric is not None)
    return study.objectives if given or len(study.objectives) > 1 else ()


def _others(
    connection: Connection, study_id: int, identity: Identity, worker_id: str, live_seconds: float
) -> list[queries.WorkerRow]:
    """Who else works on the study, after the dead have lost their trials. Until the transaction ends nobody can join.

    A run that opens the study again, because a connection broke, must not count itself as another run.
    """
    queries.lock_budget(connection, study_id)
    Reaper(study_id, identity, 0.0).free_the_dead(connection, live_seconds)
    return [each for each in queries.at_work(connection, study_id, live_seconds) if each.worker_id != worker_id]


def _evolve(
    connection: Connection,
    found: FoundStudy,
    study_id: int,
    stored: queries.RegisteredStudy,
    opening: OpenOptions,
    others: Sequence[queries.WorkerRow],
) -> tuple[str, ...]:
    evolved = evolve(connection, found, study_id, stored, others) if opening.evolve else ()
    if evolved:
        lay_out(connection, found.study, study_id)
    return evolved


def _retry(
    connection: Connection, study: Study, study_id: int, opening: OpenOptions, others: Sequence[queries.WorkerRow]
) -> str:
    """Before the budget is set, because a trial that is tried again is not finished. Only for runs, not for workers."""
    if opening.retry_failed:
        check_alone(study, others, "its failed trials cannot be tried again", "--retry-failed")
    if others or not opening.create:
        return ""
    return try_again(connection, study, study_id, everything=opening.retry_failed, target=opening.trials_target)


def _set_budget(
    connection: Connection, study_id: int, opening: OpenOptions, others: Sequence[queries.WorkerRow]
) -> BudgetDecision:
    if opening.budget == "keep":
        return BudgetDecision(queries.budget(connection, study_id))
    if opening.budget == "once":
        return initial_budget(connection, study_id, opening.timeout_seconds, opening.trials_target)
    return agree(connection, study_id, others, opening.timeout_seconds, opening.trials_target)


def directions_of(study: Study) -> tuple[StudyDirection, ...]:
    """One for each objective, as Optuna has them."""
    return tuple(DIRECTION_OF[direction] for direction in study.directions)


def _register(
    connection: Connection, found: FoundStudy, study_id: int, facts: Mapping[str, Any]
) -> queries.RegisteredStudy:
    study = found.study
    return queries.register(
        connection,
        study_id,
        fingerprint=study.fingerprint(),
        declaration=study.declaration(),
        source=str(found.source),
        seed=study.seed,
        facts={**facts, "uid": uuid.uuid4().hex[:12], "job": asdict(study_job(found, {}))},
    )


def _foreign(connection: Connection, name: str, study_id: int) -> StudyError:
    """For a study without our record: plain Optuna's, or a copy of ours, which is how a dashboard renames a study."""
    copied = queries.holds_our_trials(connection, study_id)
    return StudyError(
        f'the database has a study "{name}" that hpo did not make',
        evidence=[
            "its trials are copies of hpo's: a dashboard renames a study by copying it, without budget and epochs"
        ]
        if copied
        else [],
        next="give yours another name (--name); `hpo report` reads the other one as it is",
    )


def _unknown(name: str, known: list[str]) -> StudyError:
    return StudyError(
        f'the database has no study "{name}"',
        evidence=[near_miss(name, known)] if known else ["it has no studies"],
        next="start it with `hpo run`; then workers can join",
    )
