"""Claiming trials while hundreds of hosts want to: how long the study is locked, what a failure right after costs."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

import hpo
from hpo import NoPruner, Random
from hpo.search.ask_tell import AskTell
from hpo.search.events import TrialAssigned
from hpo.search.identity import own_identity
from hpo.search.reaper import Reaper
from hpo.search.storage_thread import StorageThread
from hpo.storage import queries
from hpo.storage.engine import open_engine
from hpo.storage.study_cache import StudyCache
from hpo.study.discovery import FoundStudy, find_study
from hpo.trainers.trial import Trial

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
        if "hpo_claim_next" in words:
            ended_at_once.append(cursor.connection.autocommit)

    event.listen(Engine, "before_cursor_execute", statement)
    hpo.run(study, trainers=1, devices="cpu", trials=TRIALS, storage=database_url)
    event.remove(Engine, "before_cursor_execute", statement)
    assert len(ended_at_once) >= TRIALS
    assert all(ended_at_once)


def test_a_claim_does_not_wait_for_the_disk_and_nothing_else_is_spared_it(engine: Engine) -> None:
    with engine.begin() as c:
        study_id = queries.create_study(c, "claimed", (StudyDirection.MAXIMIZE,))
    with engine.connect() as c:
        for expected in ("on", "off"):
            assert c.execute(text("SHOW synchronous_commit")).scalar_one() == expected
            queries.claim(c, study_id, "w", "here", 30, 1)
        c.commit()
        assert c.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def test_hundreds_may_want_to_claim_while_one_does_and_each_gets_a_number_of_its_own(engine: Engine) -> None:
    """The lock is held for longer than a host's first tries; who waits for it works on what was committed meanwhile."""
    with engine.begin() as c:
        study_id = queries.create_study(c, "crowded", (StudyDirection.MAXIMIZE,))
    numbers: list[int] = []

    def claim(host: int) -> None:
        apart = open_engine(engine.url.render_as_string(hide_password=False))
        with apart.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
            numbers.extend(claim.number for claim in queries.claim(c, study_id, f"w{host}", "here", 30, 1))
        apart.dispose()

    with engine.begin() as c:
        queries.claim(c, study_id, "first", "here", 30, 1)
        hosts = [threading.Thread(target=claim, args=(host,)) for host in range(8)]
        for host in hosts:
            host.start()
        trying = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        )
        while c.execute(trying).scalar_one() < len(hosts):
            c.execute(text("SELECT pg_stat_clear_snapshot()"))
    for host in hosts:
        host.join()
    assert sorted(numbers) == list(range(1, 9))


def test_each_of_two_hosts_knows_at_its_next_trial_what_the_other_trains(engine: Engine, tmp_path: Path) -> None:
    """Two storage threads on one study, as two machines have them: neither waits for the other's trial to end."""
    declared = replace(find_study("mlp_digits").study, sampler=Random(), pruner=NoPruner())
    with engine.begin() as c:
        study_id = queries.create_study(c, declared.name, (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="s", seed=0, facts={"uid": "u"})
    hosts = {}
    for name in ("one", "other"):
        cache = StudyCache(study_id, declared.name, (StudyDirection.MAXIMIZE,))
        hosts[name] = StorageThread(
            open_engine(engine.url.render_as_string(hide_password=False)),
            AskTell(declared, study_id, cache, tmp_path, name, 1),
            Reaper(study_id, own_identity(), 60.0),
            worker_id=name,
            lease_seconds=60.0,
            wake=lambda: None,
        )
        hosts[name].start()
    trained = {name: _assigned(host) for name, host in hosts.items()}
    for name, elsewhere in (("one", "other"), ("other", "one")):
        _assigned(hosts[name])
        known = {trial.number: trial for trial in hosts[name].trials()}[trained[elsewhere].number]
        assert (known.state, known.params) == (TrialState.RUNNING, trained[elsewhere].params)
    for host in hosts.values():
        assert not host.close(30.0)


def _assigned(host: StorageThread) -> Trial:
    """A trial that it asks for, as a loop does."""
    host.want(1, [])
    while not isinstance(event := host.events.get(timeout=60), TrialAssigned):
        pass
    return event.trial


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
