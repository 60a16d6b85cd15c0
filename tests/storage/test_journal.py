"""The journal: what it holds, that it is written once, and only into its own database."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine

from hpo.storage import rows
from hpo.storage.journal import Origin, keep, replay
from hpo.storage.rows import EpochRow, Finish, Requeue, Writes


@pytest.fixture
def origin(engine: Engine) -> Origin:
    with engine.begin() as c:
        study_id = rows.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        rows.register(c, study_id, fingerprint="f", declaration={}, source="", seed=0, facts={"uid": "u1"})
        rows.create_trials(c, study_id, "w", "host", 30, 2)
    return Origin("u1", study_id, "w")


def outcome(engine: Engine, value: float = 0.5) -> Writes:
    """Everything that can be said of a trial, and a second one put down."""
    with engine.begin() as c:
        first, second = (trial._trial_id for trial in rows.read_changes(c, rows.list_studies(c)[0].study_id))
    writes = Writes()
    writes.set_param(first, "lr", 0.01, FloatDistribution(1e-5, 0.1, log=True))
    writes.set_user_attr(first, "metrics", {"val_accuracy": value})
    writes.set_system_attr(first, "constraint", [0.0])
    writes.report(first, 1, math.nan)
    writes.report(first, 2, value)
    writes.epoch(EpochRow(first, 1, val_loss=math.inf, val_accuracy=value))
    writes.finish(Finish(first, TrialState.COMPLETE, (value,)))
    writes.requeue(Requeue(second, 0, "folder"))
    writes.study_user_attrs[rows_study(engine)] = {"note": "n"}
    return writes


def rows_study(engine: Engine) -> int:
    with engine.begin() as c:
        return rows.list_studies(c)[0].study_id


def trials(engine: Engine) -> list[optuna.trial.FrozenTrial]:
    with engine.begin() as c:
        return rows.read_changes(c, rows_study(engine))


def test_everything_comes_back_as_if_it_had_been_saved(engine: Engine, origin: Origin, tmp_path: Path) -> None:
    path = keep(tmp_path, origin, outcome(engine))
    assert replay(engine, tmp_path) == ["from the journal: the outcome of trial 0"]
    assert not path.exists()
    first, second = trials(engine)
    assert (first.state, first.values, first.params) == (TrialState.COMPLETE, [0.5], {"lr": 0.01})
    assert first.user_attrs == {"metrics": {"val_accuracy": 0.5}}
    assert math.isnan(first.intermediate_values[1])
    assert second.state == TrialState.WAITING
    with engine.begin() as c:
        assert rows.study_attrs(c, origin.study_id)[0] == {"note": "n"}
        assert rows.claim_waiting(c, origin.study_id, "x", "h", 30, 1)[0].attempt == 1


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
        rows.release_worker(c, "w")
    assert replay(engine, tmp_path) == ["from the journal: the outcome of trial 0"]
    keep(tmp_path, origin, outcome(engine, 0.75))
    assert replay(engine, tmp_path) == ["dropped from the journal, as others took it up or ended it: trial 0"]
    assert trials(engine)[0].values == [0.5]


def test_a_journal_of_another_database_stays(engine: Engine, origin: Origin, tmp_path: Path) -> None:
    path = keep(tmp_path, Origin("u2", origin.study_id, "w"), outcome(engine))
    assert replay(engine, tmp_path) == []
    assert path.exists()
    assert [trial.state for trial in trials(engine)] == [TrialState.RUNNING] * 2


@pytest.mark.parametrize("damage", [b"", b"\n", b"not a line\n", b"0" * 64 + b' {"uid": "u1"}\n', b"\xff\x00 {\n"])
def test_rubbish_is_passed_over_and_kept(engine: Engine, origin: Origin, tmp_path: Path, damage: bytes) -> None:
    path = keep(tmp_path, origin, outcome(engine))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0][:-9] + b"\n" + damage + b"".join(lines[1:]))
    told = replay(engine, tmp_path)
    assert "damaged lines of the journal passed over" in told[-1]
    assert path.with_suffix(".damaged").exists()
    assert [trial.state for trial in trials(engine)] == [TrialState.RUNNING, TrialState.WAITING]
