"""What changed since a host last read: nothing is passed over, whoever wrote it, and nothing else is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Engine, event, text

from hpo.search.ask_tell import AskTell
from hpo.storage import queries
from hpo.storage.changes import TRIGGERS, Horizon
from hpo.storage.schema import ensure_schema, schema_state
from hpo.storage.study_cache import StudyCache
from hpo.study.discovery import find_study

LR = FloatDistribution(1e-5, 1e-1, log=True)


@pytest.fixture
def study_id(engine: Engine) -> int:
    study = find_study("mlp_digits").study
    with engine.begin() as c:
        study_id = queries.create_study(c, study.name, (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="s", seed=0, facts={"uid": "u"})
    return study_id


class Reader:
    """Reads what changed, as a host does, and keeps what it saw last of each trial."""

    def __init__(self, engine: Engine, study_id: int) -> None:
        self.engine, self.study_id = engine, study_id
        self.cache = StudyCache(study_id, "s", (StudyDirection.MAXIMIZE,))
        self.known: dict[int, FrozenTrial] = {}
        self.statements = 0

    def read(self) -> list[int]:
        """Numbers of the trials that were read."""
        with self.engine.begin() as c, said_by(self.engine) as said:
            trials, self.cache.horizon = queries.read_news(c, self.study_id, self.cache)
            self.statements += len(said)
        self.known.update({trial.number: trial for trial in trials})
        return [trial.number for trial in trials]


@contextmanager
def said_by(engine: Engine) -> Iterator[list[int]]:
    """For each statement of the engine, how many rows it brought."""
    rows: list[int] = []

    def count(_connection: Any, cursor: Any, *_: Any) -> None:
        rows.append(max(0, cursor.rowcount))

    event.listen(engine, "after_cursor_execute", count)
    yield rows
    event.remove(engine, "after_cursor_execute", count)


def begin(connection: Connection, study_id: int, worker: str, count: int = 1) -> list[int]:
    """Trials that `worker` now trains, each with a parameter; their ids."""
    claims = queries.claim(connection, study_id, worker, worker, 60, count)
    writes = queries.WriteBatch()
    for claim in claims:
        writes.set_param(claim.trial_id, "lr", 1e-3, LR)
    queries.save(connection, writes, worker)
    return [claim.trial_id for claim in claims]


def test_a_transaction_under_way_is_not_passed_over(engine: Engine, study_id: int) -> None:
    """It began to write before another that commits first, and commits after both were looked for."""
    with engine.begin() as c:
        first, second = begin(c, study_id, "w", 2)
    reader = Reader(engine, study_id)
    assert reader.read() == [0, 1]
    slow, fast = engine.connect(), engine.connect()
    for connection, trial in ((slow, first), (fast, second)):
        writes = queries.WriteBatch()
        writes.finish(queries.TrialResult(trial, TrialState.COMPLETE, (0.5,)))
        queries.save(connection, writes, "w")
    fast.commit()
    fast.close()
    assert reader.read() == [1]
    slow.commit()
    slow.close()
    assert reader.read() == [0]
    assert reader.read() == []
    assert {trial.state for trial in reader.known.values()} == {TrialState.COMPLETE}


def test_reports_alone_are_news_where_plans_are_made_from_curves_however_long_they_are(
    engine: Engine, study_id: int
) -> None:
    writer, reader = StudyCache(study_id, "s", (StudyDirection.MAXIMIZE,)), Reader(engine, study_id)

    def save() -> list[int]:
        with engine.begin() as c:
            queries.save(c, writer.take_writes(), "w")
        return reader.read()

    with engine.begin() as c:
        [claim] = queries.claim(c, study_id, "w", "w", 60, 1)
    writer.start(claim)
    writer.set_trial_param(claim.trial_id, "lr", 1e-3, LR)
    assert save() == [0]
    writer.report(queries.EpochRow(claim.trial_id, 1), [(1, 0.5)])
    assert save() == []
    writer.all_is_news = True
    writer.report(queries.EpochRow(claim.trial_id, 2), [(2, 0.75)])
    assert save() == [0]
    assert reader.known[0].intermediate_values == {1: 0.5, 2: 0.75}
    writer.set_trial_user_attr(claim.trial_id, "decisions", "long" * 2000)
    assert save() == [0]
    assert reader.known[0].user_attrs == {"decisions": "long" * 2000}
    assert save() == []


def test_every_write_of_plain_optuna_is_seen(engine: Engine, study_id: int, database_url: str) -> None:
    """Enqueued, begun, given parameters and attributes, told, added: each by itself, as a script does."""
    theirs = optuna.load_study(study_name="mlp_digits", storage=database_url)
    storage, reader = theirs._storage, Reader(engine, study_id)
    shown: Callable[[int], Any] = reader.known.__getitem__
    theirs.enqueue_trial({"lr": 0.01})
    assert reader.read() == [0]
    assert shown(0).system_attrs["fixed_params"] == {"lr": 0.01}
    trial = theirs.ask()
    assert reader.read() == [0]
    assert shown(0).state is TrialState.RUNNING
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    assert reader.read() == [0]
    assert shown(0).params == {"lr": 0.01}
    storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.25)
    assert reader.read() == [0]
    assert shown(0).system_attrs["completed_rung_0"] == 0.25
    theirs.tell(trial, 0.75)
    assert reader.read() == [0]
    assert (shown(0).state, shown(0).value) == (TrialState.COMPLETE, 0.75)
    theirs.add_trial(optuna.trial.create_trial(value=0.5))
    assert reader.read() == [1]
    assert reader.read() == []


@pytest.mark.parametrize("open_trials", [2, 200])
def test_a_host_that_claims_reads_what_changed_however_many_trials_are_open(
    open_trials: int, engine: Engine, study_id: int, tmp_path: Path
) -> None:
    study = find_study("mlp_digits").study
    asker = AskTell(study, study_id, StudyCache(study_id, study.name, (StudyDirection.MAXIMIZE,)), tmp_path, "here", 1)
    with engine.begin() as c:
        theirs = begin(c, study_id, "other", open_trials)
    with engine.begin() as c:
        asker.synchronise(c)
    assert len(asker.cache.open_ids()) == open_trials
    with engine.begin() as c:
        [claim] = asker.claim(c, "mine", 60, 1)
        writes = queries.WriteBatch()
        writes.finish(queries.TrialResult(theirs[0], TrialState.FAIL))
        queries.save(c, writes, "other")
    with engine.begin() as c, said_by(engine) as rows:
        asker.synchronise(c, [claim.trial_id])
    assert len(asker.cache.open_ids()) == open_trials  # one less of theirs, and ours
    assert sum(rows) <= 8


def test_on_a_restored_server_everything_is_read_again(engine: Engine, study_id: int) -> None:
    """Its transactions are numbered from a lower number on, or its tables hold numbers that it will only come to."""
    with engine.begin() as c:
        begin(c, study_id, "w", 2)
    reader = Reader(engine, study_id)
    reader.cache.horizon = Horizon(10**15)
    assert reader.read() == [0, 1]
    with engine.begin() as c:
        c.execute(text("UPDATE hpo_changes SET change = change + 1000000000"))
    assert reader.read() == []
    with engine.begin() as c:
        c.execute(text("UPDATE trials SET state = 'FAIL' WHERE number = 1"))
    assert reader.read() == [1]


@pytest.mark.parametrize("how", ["DROP TRIGGER {name} ON {table}", "ALTER TABLE {table} DISABLE TRIGGER {name}"])
def test_what_notes_changes_is_made_anew_by_the_next_search(how: str, engine: Engine) -> None:
    name, (table, _, _) = next(iter(TRIGGERS.items()))
    with engine.begin() as c:
        c.execute(text(how.format(name=name, table=table)))
    assert schema_state(engine).missing == (f"trigger {name}",)
    assert schema_state(engine).readable
    ensure_schema(engine)
    assert schema_state(engine).ready


def test_whoever_may_write_optunas_tables_needs_no_right_on_ours(engine: Engine, study_id: int) -> None:
    with engine.begin() as c:
        c.execute(text("CREATE ROLE writer; GRANT ALL ON trials, trial_params, studies TO writer"))
        c.execute(text("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO writer"))
    reader = Reader(engine, study_id)
    try:
        with engine.begin() as c:
            c.execute(text("SET LOCAL ROLE writer"))
            c.execute(text(f"INSERT INTO trials (number, study_id, state) VALUES (0, {study_id}, 'WAITING')"))
        assert reader.read() == [0]
    finally:
        with engine.begin() as c:
            c.execute(text("DROP OWNED BY writer; DROP ROLE writer"))


def test_what_hpo_wrote_is_read_as_one_row_and_is_what_its_rows_say(engine: Engine, study_id: int) -> None:
    """Begun, proposed, given attributes, ended: each time as `read_changes` gives it, and in one statement."""
    ours = StudyCache(study_id, "s", (StudyDirection.MAXIMIZE,))
    reader = Reader(engine, study_id)

    def statements_to_read_both() -> int:
        with engine.begin() as c:
            ours.date(queries.save(c, ours.take_writes(), "w").finished)
        with engine.begin() as c:
            rows = queries.read_changes(c, study_id)
        before = reader.statements
        assert reader.read() == [0, 1]
        assert [reader.known[0], reader.known[1]] == rows
        return reader.statements - before

    with engine.begin() as c:
        claims = queries.claim(c, study_id, "w", "host", 60, 2)
    assert statements_to_read_both() == 1
    for claim in claims:
        ours.start(claim)
        for name, stored, kind in (("lr", 0.01, LR), ("optimizer", 1, CategoricalDistribution(["adam", None, 2.5]))):
            ours.set_trial_param(claim.trial_id, name, stored, kind)
    assert statements_to_read_both() == 3  # a distribution is met once in a trial's own rows
    for claim in claims:
        ours.set_trial_system_attr(claim.trial_id, "completed_rung_0", 0.5)
        ours.set_trial_user_attr(claim.trial_id, "packages", {"torch": "2.9", "ü": [1, None]})
        ours.set_trial_intermediate_value(claim.trial_id, 3, math.inf)
    assert statements_to_read_both() == 1
    for claim, value in zip(claims, (-math.inf, 0.5), strict=True):
        ours.set_trial_state_values(claim.trial_id, TrialState.COMPLETE, [value])
    assert statements_to_read_both() == 1


@pytest.mark.parametrize(
    "note",
    ["{", "[]", "null", '{"number": 0}', '{"number": 9, "state": "RUNNING"}', '{"number": 0, "state": "COMPLETE"}',
     '{"number": 0, "state": "RUNNING", "params": [["lr", 1, "unknown"]]}',
     '{"number": 0, "state": "RUNNING", "begun": "soon"}'],
)  # fmt: skip
def test_a_note_that_hpo_would_not_have_written_is_passed_over(note: str, engine: Engine, study_id: int) -> None:
    with engine.begin() as c:
        begin(c, study_id, "w")
        c.execute(text("UPDATE hpo_changes SET note = :note"), {"note": note})
    reader = Reader(engine, study_id)
    assert reader.read() == [0]
    assert (reader.known[0].state, reader.known[0].params) == (TrialState.RUNNING, {"lr": 1e-3})
