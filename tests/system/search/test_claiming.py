"""Claiming trials while hundreds of hosts want to: how long the study is locked, what a failure right after costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

import hpo
from hpo import NoPruner, Random
from hpo.search.ask_tell import AskTell
from hpo.storage import queries
from hpo.study.discovery import FoundStudy, find_study

TRIALS = 6


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FoundStudy:
    """Short trials, and a lease that is renewed every second."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setenv("HPO_LEASE_SECONDS", "6")
    found = find_study("mlp_digits")
    return replace(found, study=replace(found.study, epochs=1, sampler=Random(), pruner=NoPruner()))


def test_a_claim_is_a_transaction_that_the_server_ends_without_waiting_for_the_host(
    study: FoundStudy, database_url: str
) -> None:
    """Every host of the study waits until it has ended; a host on a busy machine may take its time to answer."""
    ended_at_once: list[bool] = []

    def statement(_connection: Any, cursor: Any, words: str, *_rest: Any) -> None:
        if "synchronous_commit" in words:
            ended_at_once.append(cursor.connection.autocommit)

    event.listen(Engine, "before_cursor_execute", statement)
    hpo.run(study, trainers=1, devices="cpu", trials=TRIALS, storage=database_url)
    event.remove(Engine, "before_cursor_execute", statement)
    assert len(ended_at_once) >= TRIALS
    assert all(ended_at_once)


def test_trials_claimed_right_before_the_database_went_away_are_put_down_and_done(
    study: FoundStudy, database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claimed, committed, and the reading after it fails: no trial lost, none too many, no attempt used."""
    failed: list[int] = []
    synchronise = AskTell.synchronise

    def failing(self: AskTell, connection: Any, claimed: Any = ()) -> None:
        if claimed and claimed[0] >= 3 and not failed:
            failed.extend(claimed)
            raise OperationalError("SELECT", {}, Exception("server closed the connection"), connection_invalidated=True)
        synchronise(self, connection, claimed)

    monkeypatch.setattr(AskTell, "synchronise", failing)
    result = hpo.run(study, trainers=1, devices="cpu", trials=TRIALS, storage=database_url)
    assert failed
    assert result.counts["complete"] == TRIALS
    with engine.connect() as connection:
        done = connection.execute(text("SELECT t.number, t.state::text, l.attempt FROM trials t JOIN hpo_leases l"
                                       " USING (trial_id) ORDER BY 1")).all()  # fmt: skip
    assert [tuple(row) for row in done] == [(number, "COMPLETE", 1) for number in range(TRIALS)]


def test_trials_claimed_by_name_are_those_and_a_target_holds(engine: Engine) -> None:
    """One that another host was first to take is not replaced, and no more trials are made than are to be."""
    with engine.begin() as c:
        study_id = queries.create_study(c, "named", (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="s", seed=0, facts={"uid": "u"})
        ids = [claim.trial_id for claim in queries.claim(c, study_id, "first", "host", 30.0, 4)]
        queries.sign_off(c, "first")
        queries.set_budget(c, study_id, None, 5)
        where = study_id, "me", "host", 30.0
        [taken] = queries.claim_these(c, study_id, "other", "elsewhere", 30.0, [ids[2]], 0)
        assert taken.trial_id == ids[2]
        mine = queries.claim_these(c, *where, [ids[3], ids[2], ids[1]], 1)
        assert [(claim.trial_id, claim.fresh) for claim in mine[:2]] == [(ids[1], False), (ids[3], False)]
        assert [(claim.number, claim.fresh) for claim in mine[2:]] == [(4, True)]
        assert queries.claim_these(c, *where, [], 2) == []
        assert [claim.trial_id for claim in queries.claim_these(c, *where, [ids[0], ids[1]], 0)] == [ids[0]]
