"""The database restarts, hangs, is away, is away for too long. See docs/failures.md."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from own_server import OwnServer
from proxy import Proxy
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from test_hosts import in_epoch, let_go
from world import Hpo, World, until

NewWorld = Any


def check_nothing_repeated(world: World, trials: int) -> None:
    """Every epoch was trained once, by the trainer that had the trial from the start."""
    world.check(finished=trials)
    assert set(world.attempts().values()) == {1}
    for number in range(trials):
        assert [line.epoch for line in world.log("epoch", number)] == [1, 2, 3, 4]
    assert world.processes[0].output.count("trainer on") == 0


OURS = "FROM pg_stat_activity WHERE application_name = 'hpo'"


@contextmanager
def in_mid_statement(world: World) -> Iterator[None]:
    """A statement of the coordinator's is under way, and does not end before this does."""
    engine = create_engine(world.direct, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE hpo_leases IN ACCESS EXCLUSIVE MODE"))
        until(lambda: world.sql(f"SELECT 1 {OURS} AND wait_event_type = 'Lock'"), "a statement that waits for the lock")
        yield


def held_in_epoch_1(world: World) -> Hpo:
    """An `hpo run` of four trials that does not get beyond their first epochs before the test says so."""
    world.hold.write_text("1")
    return world.start("--trials", "4")


def test_terminated_connections_are_made_anew(new_world: NewWorld) -> None:
    """pg_terminate_backend at every epoch, in the middle of a statement: nothing is lost, no epoch is trained twice."""
    world = new_world(fake={"epoch_seconds": 0.4})
    process = held_in_epoch_1(world)
    for epoch in (1, 2, 3):
        world.hold.write_text(str(epoch))
        world.reached(epoch)
        with in_mid_statement(world):
            assert world.sql(f"SELECT count(pg_terminate_backend(pid)) {OURS}")[0][0] >= 1
    let_go(world)
    process.ends()
    assert "database back" in process.output
    check_nothing_repeated(world, 4)


def test_a_server_away_for_longer_than_the_lease_costs_nothing(new_world: NewWorld, own_server: OwnServer) -> None:
    """Training goes on, reports are written in order later, and two hosts leave each other's leases alone."""
    world = new_world(url=own_server.url, fake={"epoch_seconds": 0.4}, lease_seconds=6.0)
    world.hold.write_text("1")
    process = world.start("--trials", "6", OTHER_HOST="one")  # it may ask for two ahead, and leaves two to the other
    world.reached(1)
    other = world.start("--trainers", "1", command="worker", OTHER_HOST="two")
    until(lambda: len(world.log("epoch")) == 3, "the second host to train")
    own_server.stop()
    stopped = time.monotonic()
    let_go(world)
    for each in (process, other):
        each.says("database away")
    until(lambda: len(world.log("complete")) >= 3, "the trials to be trained to their end meanwhile")
    # Renewed before the server stopped, a lease lasts so long at most.
    until(lambda: time.monotonic() > stopped + world.lease_seconds, "every lease to run out")
    own_server.start()
    process.ends()
    other.ends()
    check_nothing_repeated(world, 6)
    assert "database back" in process.output + other.output


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_a_network_that_breaks_or_hangs_costs_nothing(through_proxy: NewWorld, proxy: Proxy, fault: str) -> None:
    """Connections dropped in mid-statement, or silent for longer than a statement may take."""
    world = through_proxy(fake={"epoch_seconds": 0.4}, lease_seconds=6.0)
    process = held_in_epoch_1(world)
    if fault == "cut":
        for epoch in (1, 2, 3):
            world.hold.write_text(str(epoch))
            world.reached(epoch)
            with in_mid_statement(world):
                assert proxy.cut() >= 1
    else:
        world.reached(1)
        proxy.stalled = True
        process.says("database away")
        proxy.stalled = False
    let_go(world)
    process.ends()
    check_nothing_repeated(world, 4)


def test_a_connection_that_breaks_while_a_study_is_opened_is_made_anew(through_proxy: NewWorld, proxy: Proxy) -> None:
    """What opening does may be done again, so three broken connections are no reason to give up."""
    world = through_proxy()
    process = world.start("--trials", "2")
    for _ in range(3):
        until(lambda: proxy.packets > 1 and proxy.cut(), f"a connection in use\n{process.output}")
        proxy.packets = 0
    process.ends()
    world.check(finished=2)


def away_for_too_long(world: World, server: OwnServer) -> Path:
    """Outcomes in the journal: the database went away in epoch 1 of two trials and did not come back in time."""
    process = in_epoch(world, 1, HPO_PATIENCE_SECONDS="12")
    server.stop()
    let_go(world)
    output = process.ends(4)
    assert "the database was away" in output
    assert f"next: when the database is back, `hpo run --study {world.study}`" in output, "as it was typed"
    assert len(world.log("complete")) == 2
    [journal] = (world.folder / "home" / "journal").glob("*.jsonl")
    assert f"2 outcomes kept in {journal}" in output
    server.start()
    return journal


@pytest.mark.parametrize("journal", [True, False], ids=["kept", "lost"])
def test_a_database_without_room_is_called_full_and_no_more_is_promised_than_is_kept(
    new_world: NewWorld, journal: bool
) -> None:
    """A server that refuses every epoch with disk_full; and in one case a journal that cannot be written either."""
    world = new_world()
    if not journal:
        (world.folder / "home").mkdir(exist_ok=True)
        (world.folder / "home" / "journal").write_text("in the way")
    process = in_epoch(world, 1, HPO_PATIENCE_SECONDS="4")
    world.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'konnte Datei nicht erweitern' USING ERRCODE = 'disk_full'; END $$"
    )
    world.sql("CREATE TRIGGER no_room BEFORE INSERT ON hpo_epochs FOR EACH ROW EXECUTE FUNCTION full_disk()")
    let_go(world)
    output = process.ends(4)
    assert "database away: its disk is full (konnte Datei nicht erweitern)" in output
    assert "the disk of the database was full when this process had to leave" in output
    assert (
        f"`hpo run --study {world.study}` {'saves these results' if journal else 'trains these trials again'}" in output
    )
    assert ("kept in" if journal else "could not be kept in") in output
    world.sql("DROP TRIGGER no_room ON hpo_epochs")
    world.run("--trials", "2")
    world.check(finished=2)


def test_a_run_that_waits_for_its_database_at_the_end_says_until_when(
    new_world: NewWorld, own_server: OwnServer
) -> None:
    """Time is up and nothing answers: not a screen that says 0 s and nothing else."""
    world = new_world(url=own_server.url)
    world.hold.write_text("1")
    process = world.start("--timeout", "10m", HPO_PATIENCE_SECONDS="18")
    world.reached(1)
    world.sql("UPDATE hpo_studies SET deadline = now() + interval '8 s'")
    process.says("another process changed the budget")
    own_server.stop()
    process.says("waiting for the database until ")
    process.ends(4)
    assert str(world.folder / "home" / "journal") in process.output
    own_server.start()


def test_outcomes_that_could_not_be_told_are_kept_and_told_by_the_next_command(
    new_world: NewWorld, own_server: OwnServer
) -> None:
    """Exit 4 with the command named; any hpo command then writes them; nothing is trained again."""
    world = new_world(url=own_server.url, fake={"epoch_seconds": 0.4})
    journal = away_for_too_long(world, own_server)
    status = world.start("--json", command="status").ends()
    assert "from the journal: the outcome of trial 0, 1" in status
    assert not journal.exists()
    assert json.loads(status[status.index("{") :])["counts"]["complete"] == 2
    world.run("--trials", "2")
    world.check(finished=2)
    assert len(world.log("begin")) == 2


def test_a_journal_does_not_overrule_the_host_that_went_on_meanwhile(
    new_world: NewWorld, own_server: OwnServer
) -> None:
    """Another host ended the trials first: its outcome stands, and the journal's is dropped, and that is said."""
    world = new_world(url=own_server.url, fake={"epoch_seconds": 0.4})
    away_for_too_long(world, own_server)
    world.sql("UPDATE hpo_leases SET worker_id = NULL")
    world.sql("UPDATE trials SET state = 'FAIL' WHERE state = 'RUNNING'")
    output = world.run("--trials", "2")
    assert "dropped from the journal, as others took it up or ended it: trial 0, 1" in output
    assert [trial.state.name for trial in world.check(finished=2)] == ["FAIL", "FAIL"]


def test_a_torn_journal_costs_only_the_lines_that_are_torn(new_world: NewWorld, own_server: OwnServer) -> None:
    """A damaged line is said and kept; its trial is resumed; the other outcome is written."""
    world = new_world(url=own_server.url, fake={"epoch_seconds": 0.4})
    journal = away_for_too_long(world, own_server)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], lines[1][:-40]]))
    output = world.run("--trials", "2")
    assert "1 damaged line of the journal passed over" in output
    assert "from the journal: the outcome of trial 0" in output
    world.check(finished=2)
    assert len(world.log("begin", 0)) == 1


def test_an_embedded_server_that_is_killed_is_started_again(new_world: NewWorld) -> None:
    """Nobody else would: without --storage the run that needs the database brings it back."""
    import psutil

    world = new_world(fake={"epoch_seconds": 1.2})  # it is back before the last trial ends, on a busy machine too
    home = world.folder / "home"
    given = world.url
    world.url = ""
    process = world.start("--trials", "4")
    world.reached(1)
    pid = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    psutil.Process(pid).kill()
    process.ends()
    assert "database back" in process.output
    world.url = given
    assert len(world.log("complete")) == 4
