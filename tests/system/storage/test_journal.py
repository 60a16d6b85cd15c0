"""The journal: what it holds, that it is written once, and only into its own database."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine

from hpo.storage import queries
from hpo.storage.journal import Origin, keep, replay
from hpo.storage.queries import EpochRow, Requeue, TrialResult, WriteBatch


@pytest.fixture
def origin(engine: Engine) -> Origin:
    with engine.begin() as c:
        study_id = queries.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="", seed=0, facts={"uid": "u1"})
        queries.claim(c, study_id, "w", "host", 30, 2)
    return Origin("u1", study_id, "w")


def outcome(engine: Engine, value: float = 0.5) -> WriteBatch:
    """Everything that can be said of a trial, and a second one put down."""
    with engine.begin() as c:
        first, second = (trial._trial_id for trial in queries.read_changes(c, queries.list_studies(c)[0].study_id))
    writes = WriteBatch()
    writes.set_param(first, "lr", 0.01, FloatDistribution(1e-5, 0.1, log=True))
    writes.set_user_attr(first, "metrics", {"val_accuracy": value})
    writes.set_system_attr(first, "constraint", [0.0])
    writes.report(first, 1, math.nan)
    writes.report(first, 2, value)
    writes.epoch(EpochRow(first, 1, val_loss=math.inf, val_accuracy=value, metrics={"f1": math.nan, "loss": 1.5}))
    writes.finish(TrialResult(first, TrialState.COMPLETE, (value,)))
    writes.requeue(Requeue(second, 0, "folder"))
    writes.study_user_attrs[rows_study(engine)] = {"note": "n"}
    return writes


def rows_study(engine: Engine) -> int:
    with engine.begin() as c:
        return queries.list_studies(c)[0].study_id


def trials(engine: Engine) -> list[optuna.trial.FrozenTrial]:
    with engine.begin() as c:
        return queries.read_changes(c, rows_study(engine))


def test_everything_comes_back_as_if_it_had_been_saved(engine: Engine, origin: Origin, tmp_path: Path) -> None:
    path = keep(tmp_path, origin, outcome(engine))
    assert replay(engine, tmp_path) == ["from the journal: the outcome of trial 0"]
    assert not path.exists()
    first, second = trials(engine)
    assert (first.state, first.values, first.params) == (TrialState.COMPLETE, [0.5], {"lr": 0.01})
    assert first.user_attrs == {"metrics": {"val_accuracy": 0.5}}
    assert math.isnan(first.intermediate_values[1])
    with engine.begin() as c:
        assert repr(queries.read_metrics(c, origin.study_id)) == "{0: {'f1': nan, 'loss': 1.5}}"
    assert second.state == TrialState.WAITING
    with engine.begin() as c:
        assert queries.study_attrs(c, origin.study_id)[0] == {"note": "n"}
        assert queries.claim(c, origin.study_id, "x", "h", 30, 1, new=False)[0].attempt == 1


def test_replaying_twice_is_replaying_once(engine: Engine, origin: Origin, tmp_path: Path) -> None:
    """A process that dies between the commit and the removal of the file does no harm."""
    path = keep(tmp_path, origin, outcome(engine))
    content = path.read_bytes()
    replay(engine, tmp_path)
    once = trials(engine)
    path.write_bytes(content)
    replay(engine, tmp_path)
    assert trials(engine) == once
    assert replay(engine, tmp_path) == []


def test_a_trial_that_waits_again_is_finished_and_one_that_runs_elsewhere_is_not(
    engine: Engine, origin: Origin, tmp_path: Path
) -> None:
    keep(tmp_path, origin, outcome(engine))
    with engine.begin() as c:
        queries.release_worker(c, "w", 10)
    assert replay(engine, tmp_path) == ["from the journal: the outcome of trial 0"]
    keep(tmp_path, origin, outcome(engine, 0.75))
    assert replay(engine, tmp_path) == ["dropped from the journal, as others took it up or ended it: trial 0"]
    assert trials(engine)[0].values == [0.5]


def test_a_journal_of_another_database_stays(engine: Engine, origin: Origin, tmp_path: Path) -> None:
    path = keep(tmp_path, Origin("u2", origin.study_id, "w"), outcome(engine))
    assert replay(engine, tmp_path) == []
    assert path.exists()
    assert [trial.state for trial in trials(engine)] == [TrialState.RUNNING] * 2


def line(payload: bytes) -> bytes:
    """A whole line of a journal: its digest is right, whatever it says."""
    return hashlib.sha256(payload).hexdigest().encode() + b" " + payload + b"\n"


@pytest.mark.parametrize("damage", [b"", b"\n", b"not a line\n", b"0" * 64 + b' {"uid": "u1"}\n', b"\xff\x00 {\n"])
def test_rubbish_is_passed_over_and_kept(engine: Engine, origin: Origin, tmp_path: Path, damage: bytes) -> None:
    path = keep(tmp_path, origin, outcome(engine))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0][:-9] + b"\n" + damage + b"".join(lines[1:]))
    told = replay(engine, tmp_path)
    assert re.search("damaged lines? of the journal passed over", told[-1])
    assert path.with_suffix(".damaged").exists()
    assert [trial.state for trial in trials(engine)] == [TrialState.RUNNING, TrialState.WAITING]


def test_an_altered_number_is_damage(engine: Engine, origin: Origin, tmp_path: Path) -> None:
    """A line that still reads well, but not as it was written."""
    path = keep(tmp_path, origin, outcome(engine))
    path.write_bytes(path.read_bytes().replace(b'"COMPLETE", [0.5]', b'"COMPLETE", [0.9]'))
    assert "1 damaged line of the journal passed over" in replay(engine, tmp_path)[-1]
    assert [trial.state for trial in trials(engine)] == [TrialState.RUNNING, TrialState.WAITING]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b"[]",
        b'"text"',
        b"{}",
        b'{"uid": "u1", "study_id": 1}',
        b'{"trial_id": 1}',
        b"[" * 9999,
    ],
)
def test_a_whole_line_that_means_nothing_here_is_damage(
    engine: Engine, origin: Origin, tmp_path: Path, payload: bytes
) -> None:
    """Its digest is right, but it is no JSON, no object, or says something else: another version's, perhaps."""
    path = keep(tmp_path, origin, outcome(engine))
    path.write_bytes(path.read_bytes() + line(payload))
    told = replay(engine, tmp_path)
    assert told[0] == "from the journal: the outcome of trial 0"
    assert "1 damaged line of the journal passed over" in told[1]
    assert replay(engine, tmp_path) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("params", 7),
        ("params", [["lr", 0.1, "{}"]]),
        ("epochs", [{"unknown": 1}]),
        ("epochs", [[1, 2]]),
        ("epochs", [{"trial_id": 1, "epoch": 10**30}]),
        ("intermediate", [[1, "high"]]),
        ("user_attrs", {"a\0b": 1}),
        ("finish", ["SPLENDID", None]),
        ("finish", ["COMPLETE", ["high"]]),
        ("trial_id", 10**30),
        ("trial_id", "1"),
        ("study_id", None),
        ("worker_id", ["w"]),
    ],
)
def test_a_field_that_no_study_takes_is_damage(
    engine: Engine, origin: Origin, tmp_path: Path, field: str, value: Any
) -> None:
    """Nothing of it is written, the file is put aside once, and every later command is free of it."""
    path = keep(tmp_path, origin, outcome(engine))
    records = [json.loads(each.partition(b" ")[2]) for each in path.read_bytes().splitlines()]
    records[0][field] = value
    path.write_bytes(b"".join(line(json.dumps(record).encode()) for record in records))
    told = replay(engine, tmp_path)
    assert "of the journal passed over" in told[-1]
    assert path.with_suffix(".damaged").exists()
    assert replay(engine, tmp_path) == []
    assert trials(engine)[0].state == TrialState.RUNNING
