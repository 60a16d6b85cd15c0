"""Claiming trials while hundreds of hosts want to: how long the study is locked, what a failure right after costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def told_to_the_database() -> Iterator[list[str]]:
    """Statements and commits of every engine of this process, in order."""
    said: list[str] = []

    def statement(_connection: Any, _cursor: Any, words: str, *_rest: Any) -> None:
        said.append(words)

    def commit(_connection: Any) -> None:
        said.append("COMMIT")

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", commit)
    yield said
    event.remove(Engine, "before_cursor_execute", statement)
    event.remove(Engine, "commit", commit)


def test_between_a_claim_and_its_commit_nothing_is_asked_of_the_database(study: FoundStudy, database_url: str) -> None:
    """Every host of the study waits for that long; whatever the sampler has to read comes later."""
    with told_to_the_database() as said:
        hpo.run(study, trainers=1, devices="cpu", trials=TRIALS, storage=database_url)
    after = [said[place + 1] for place, words in enumerate(said) if "FOR UPDATE;" in words]
    assert len(after) >= TRIALS
    assert set(after) == {"COMMIT"}


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
