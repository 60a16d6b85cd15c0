"""Whoever may write to every table can make numbers wrong, and no more. See docs/security.md."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from uuid import uuid4

import optuna
import pytest
from hostile import (
    ODD,
    READERS,
    RECORD,
    TEXTS,
    Attack,
    Commands,
    altered,
    columns_of,
    columns_with,
    database_of,
    holding,
    rotated,
    text_columns,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutate
from sqlalchemy import text
from sqlalchemy.engine import URL
from world import HERE, World

from hpo.dashboard import Dashboard
from hpo.settings import Settings

EVERYWHERE = ("status", "trials", "trials failed")
"""The commands that see every column; the others take turns, and the fuzz tries them all."""
OTHERS = [command for command in READERS if command not in EVERYWHERE]


@pytest.fixture(scope="module")
def seeded(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with a row in every table: trials of every ending, attributes, an evaluation, artifacts."""
    name = f"hostile{uuid4().hex[:8]}"
    with database_of(postgres_server.set(database="ready").render_as_string(hide_password=False), name) as url:
        deeds = {"2": "failed", "3": "diverged"}
        world = World(url=url, folder=tmp_path_factory.mktemp("seeded"), study=str(HERE / "shared_study.py"),
                      fake={"trials": deeds, "epoch_seconds": 0.005})  # fmt: skip
        world.run("--trials", "7")
        study = optuna.load_study(study_name="faults", storage=optuna.storages.RDBStorage(url))
        study.set_user_attr("note", "x")
        study.enqueue_trial({"lr": 0.01})
        study.enqueue_trial({"lr": 0.02})
        asked = study.ask()
        asked.set_constraint("mine", 1.0)
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
        with altered(url) as connection:
            value = json.dumps(json.dumps({"artifact_id": "1", "filename": "x"}))
            attribute = "INSERT INTO study_system_attributes (study_id, key, value_json) SELECT study_id, :key, :value"
            connection.execute(text(f"{attribute} FROM studies"), {"key": "artifacts:1", "value": value})
            for table in ("hpo_evaluations (study_id, document)", "hpo_evaluation_runs (study_id, result, run_key)"):
                key = ", 'k'" if "run_key" in table else ""
                connection.execute(text(f"INSERT INTO {table} SELECT study_id, '{{}}'{key} FROM studies"))
            rows = {str(column): connection.execute(text(f"SELECT count(*) FROM {column.table}")).scalar_one()
                    for column in text_columns(connection)}  # fmt: skip
        assert all(rows.values()), rows
        study._storage.remove_session()
        study._storage._backend.engine.dispose()
        yield url


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    return Attack(tmp_path)


@pytest.fixture
def commands(attack: Attack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(attack, monkeypatch, capsys)


def test_every_text_column_may_hold_anything_for_every_command_that_reads(
    seeded: str, attack: Attack, commands: Commands
) -> None:
    """Clear errors with documented codes; nothing is run, nothing outside the home is touched, no terminal obeys it."""
    with database_of(seeded, "hostile_one") as url:
        for number, column in enumerate(columns_of(url)):
            with holding(url, column, attack.texts):
                for command in (*EVERYWHERE, OTHERS[number % len(OTHERS)]):
                    commands(command, url, str(column))
            with holding(url, column, [None]):
                commands("trials json", url, f"nothing in {column}")


def test_an_evaluation_of_another_shape_is_as_none(seeded: str, commands: Commands) -> None:
    """Of the right format too: `hpo best` and the report show its parts."""
    odd = ({"format": 1, "verdict": []}, {"format": 1, "verdict": {"sentence": []}}, {"verdict": "x"}, {"format": 2})
    with database_of(seeded, "hostile_evaluation") as url:
        for document in odd:
            with altered(url) as connection:
                connection.execute(text("DELETE FROM hpo_evaluations"))
                row = {"document": json.dumps(document)}
                into = "INSERT INTO hpo_evaluations (study_id, document)"
                connection.execute(text(f"{into} SELECT study_id, :document FROM hpo_studies"), row)
            for command in ("best", "report"):
                commands(command, url, str(document))


def test_every_number_and_moment_may_be_any_that_the_database_holds(
    seeded: str, attack: Attack, commands: Commands
) -> None:
    """NaN, infinite, negative, the largest, none at all; 4713 BC, the year 294275, 'infinity'."""
    with altered(seeded) as connection:
        columns = columns_with(connection, ODD)
    for number, table in enumerate(sorted({column.table for column in columns})):
        for shift in range(4 if table in RECORD else 1):
            with database_of(seeded, "hostile_one") as url:
                with altered(url) as connection:
                    for index, column in enumerate(one for one in columns if one.table == table):
                        write(connection, column, rotated(ODD[column.kind], index + 3 * shift))
                for command in ("status", "trials json", OTHERS[(number + shift) % len(OTHERS)]):
                    commands(command, url, f"numbers of {table}, shifted by {shift}")


@pytest.mark.parametrize("shift", range(3))
def test_a_search_goes_on_whatever_numbers_and_moments_stand_in_every_column(
    seeded: str, attack: Attack, commands: Commands, shift: int
) -> None:
    with database_of(seeded, "hostile_one") as url:
        with altered(url) as connection:
            for index, column in enumerate(columns_with(connection, ODD)):
                if column.table not in RECORD and column.table != "hpo_schema":
                    write(connection, column, rotated(ODD[column.kind], index + 2 * shift))
        commands.run(url, 2, f"numbers and moments, shifted by {shift}", timeout="5m")
        for command in ("report", *OTHERS[shift::3]):
            commands(command, url, f"after the search, shifted by {shift}")


@pytest.mark.parametrize("number", ["trial_id", str(2**30 - 9), str(2**30)])
def test_a_search_ends_by_itself_whatever_number_its_newest_trial_was_given(
    seeded: str, commands: Commands, number: str
) -> None:
    """New trials were numbered from it on, up to where no number was left, and the run waited for ever."""
    with database_of(seeded, "hostile_one") as url:
        with altered(url) as connection:
            newest = "(SELECT max(trial_id) FROM trials)"
            connection.execute(text(f"UPDATE trials SET number = {number} WHERE trial_id = {newest}"))
            connection.execute(text("UPDATE hpo_workers SET seen_at = seen_at - interval '1 hour'"))
        commands.run(url, 20, f"number {number}", timeout="1m", ends=True)


def test_every_value_in_the_record_of_a_study_is_a_clear_error_or_none(
    seeded: str, attack: Attack, commands: Commands
) -> None:
    """The one row that every command begins with, value by value."""
    with database_of(seeded, "hostile_one") as url:
        for column in (one for one in columns_of(url) if one.table in RECORD):
            for number, value in enumerate(attack.texts):
                with holding(url, column, [value]):
                    command = ("evaluate", "status", "reproduce")[number % 3]
                    commands(command, url, f"{column} = {str(value)[:80]}")


@pytest.mark.parametrize("shift", range(3))
def test_a_search_goes_on_whatever_stands_in_every_column_but_its_record(
    seeded: str, attack: Attack, commands: Commands, shift: int
) -> None:
    """Every column of every other table at once, with other values each time: three trials are trained."""
    texts = attack.texts
    with database_of(seeded, "hostile_one") as url:
        with altered(url) as connection:
            for index, column in enumerate(text_columns(connection)):
                if column.table not in (*RECORD, "alembic_version"):
                    offset = (index + shift * 9) % len(texts)
                    write(connection, column, texts[offset:-1] + texts[:offset])
            # A worker with other code that was heard of just now refuses the run (exit 3): that of the fixture was.
            connection.execute(text("UPDATE hpo_workers SET seen_at = seen_at - interval '1 hour'"))
        said = commands.run(url, 3, f"everything, shifted by {shift}", timeout="5m")
        with altered(url) as connection:
            why = "(SELECT value_json FROM trial_user_attributes a WHERE a.trial_id = t.trial_id AND key = 'failure')"
            query = f"SELECT number, state, {why} FROM trials t ORDER BY number"
            states = [tuple(row) for row in connection.execute(text(query))]
            before = 6 - 1
            assert sum(state == "COMPLETE" for _, state, _ in states) >= before + 2, (states, said)


@pytest.mark.parametrize("column", ["facts", "declaration", "source"])
def test_a_search_refuses_a_record_that_is_none_or_goes_on(
    seeded: str, attack: Attack, commands: Commands, column: str
) -> None:
    for value in attack.texts[::8]:
        with database_of(seeded, "hostile_one") as url:
            with altered(url) as connection:
                connection.execute(text(f"UPDATE hpo_studies SET {column} = :value"), {"value": value})
            commands.run(url, 1, f"{column} = {str(value)[:80]}")


def test_a_studys_uid_that_climbs_out_of_its_folder_is_refused(seeded: str, attack: Attack, commands: Commands) -> None:
    """It is part of the path of every checkpoint, which a run removes once its trial has ended."""
    climbing = "/../" * 12 + str(attack.outside)
    with database_of(seeded, "hostile_one") as url:
        with altered(url) as connection:
            facts = json.loads(connection.execute(text("SELECT facts FROM hpo_studies")).scalar_one())
            changed = json.dumps({**facts, "uid": climbing})
            connection.execute(text("UPDATE hpo_studies SET facts = :facts"), {"facts": changed})
            connection.execute(text("UPDATE hpo_workers SET seen_at = seen_at - interval '1 hour'"))
        assert "its uid is" in commands.run(url, 2, "a uid that climbs")


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_mutation_of_the_database_runs_anything_or_is_called_a_bug(
    seeded: str, attack: Attack, commands: Commands, data: st.DataObject
) -> None:
    """Some columns at once, each with texts made up, attacks, and what stood there with a piece of it changed."""
    columns = columns_of(seeded)
    with database_of(seeded, "hostile_one") as url:
        mutate(url, columns, attack, data)
        command = data.draw(st.sampled_from([*READERS, "run", "run"]))
        what = f"{command} on a mutated database"
        if command == "run":
            commands.run(url, 1, what)
        else:
            commands(command, url, what)


PAGES = ("/api/meta", "/api/studies", "/api/studies/1?after=0", "/api/studies/1/param_importances", "/csv/1",
         "/api/studies/1/plot/slice", "/api/studies/1/plot/timeline", "/artifacts/1/1")  # fmt: skip


@pytest.mark.parametrize("shift", range(3))
def test_the_dashboard_answers_whatever_stands_in_the_database(
    seeded: str, attack: Attack, commands: Commands, capsys: pytest.CaptureFixture[str], shift: int
) -> None:
    """Every page, and a study deleted with its artifacts. What Optuna cannot read is an error of that page alone."""
    texts = attack.texts[:-1]
    with database_of(seeded, "hostile_one") as url:
        with altered(url) as connection:
            for index, column in enumerate(columns_with(connection, (*TEXTS, *ODD))):
                if column.table not in ("alembic_version", "hpo_schema"):
                    odd = ODD.get(column.kind, texts)
                    write(connection, column, rotated(odd, index + 9 * shift))
        page = Dashboard(url, Settings.read(), port=0)
        thread = Thread(target=page.serve, daemon=True)
        thread.start()
        try:
            for path in (*PAGES, "DELETE /api/studies/1", "/api/meta"):
                method, _, path = path.rpartition(" ")
                status = asked(page, method or "GET", path)
                assert status in (200, 204, 400, 404, 500), (path, status)
                attack.unharmed()
            assert status == 200
        finally:
            page.close()
            thread.join(30)
    capsys.readouterr()


def asked(page: Dashboard, method: str, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", page.port, timeout=60)
    headers = {"Content-Type": "application/json"}
    connection.request(method, path, "{}" if method == "DELETE" else None, headers)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_attack_would_be_noticed(attack: Attack) -> None:
    """What the values name does run, where something runs it."""
    pickle.loads(bytes.fromhex(attack.texts[1]))
    assert attack.canary.is_dir()
    os.rmdir(attack.canary)
    compile((attack.code / "planted.py").read_text(), "planted.py", "exec")
    attack.canary.mkdir()
    with pytest.raises(AssertionError, match="was run"):
        attack.unharmed()
