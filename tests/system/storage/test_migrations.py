"""Databases of earlier versions of hpo: opened, migrated, gone on with; those of a newer one refused."""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from pathlib import Path

import optuna
import psycopg2
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from hpo.cli.main import run_command
from hpo.errors import StorageError
from hpo.search.search import _settle
from hpo.storage import changes, migrations, queries, routines, tables
from hpo.storage.engine import open_engine
from hpo.storage.journal import Origin, keep
from hpo.storage.migrations import VERSION, Migration
from hpo.storage.schema import ensure_schema, schema_state

HERE = Path(__file__).parent
DUMPS = sorted((HERE / "schemas").glob("*.sql"), key=lambda path: path.name)
COLUMNS = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    " WHERE table_schema = 'public'"
)
INDEXES = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
READING = ("status", "best", "trials", "report")


@pytest.fixture(params=DUMPS, ids=lambda path: path.stem)
def old_url(request: pytest.FixtureRequest, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database as an earlier commit of hpo left it."""
    url = make_url(empty_database_url)
    connection = psycopg2.connect(host=url.query["host"], user=url.username, dbname=url.database)
    with connection, connection.cursor() as cursor:
        cursor.execute(request.param.read_text())
    connection.close()
    monkeypatch.setenv("HPO_STORAGE", empty_database_url)
    return empty_database_url


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HPO_LEASE_SECONDS", "2")
    for check in ("examine_devices", "examine_data"):  # what `hpo doctor` says of anything else takes seconds
        monkeypatch.setattr(import_module("hpo.doctor.checkup"), check, lambda _: iter(()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished_trials(engine: Engine, study: str) -> dict[int, tuple[str, float]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT t.number, CAST(t.state AS text), v.value FROM trials t JOIN studies s USING (study_id)"
                " JOIN trial_values v USING (trial_id) WHERE s.study_name = :study"
            ),
            {"study": study},
        )
        return {number: (state, value) for number, state, value in rows}


def test_a_study_of_an_earlier_version_goes_on_where_it_stopped(
    old_url: str, at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with everything that `hpo run` does before it trains: no other command was given first."""
    engine = open_engine(old_url)
    before, left = finished_trials(engine, "old_unfinished"), finished_trials(engine, "old_finished")
    assert 1 <= len(before) < 4
    study = f"{HERE / 'old_studies.py'}:unfinished"
    assert run_command(["run", "--study", study, "--trials", "4", "--trainers", "1", "--device", "cpu"]) == 0
    assert schema_state(engine).ready
    after = finished_trials(engine, "old_unfinished")
    assert sorted(after) == [0, 1, 2, 3]
    assert {number: after[number] for number in before} == before
    assert finished_trials(engine, "old_finished") == left
    capsys.readouterr()
    for name in ("old_finished", "old_unfinished"):
        assert run_command(["best", "--study", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["value"] > 0.5
    engine.dispose()


def test_a_journal_of_an_earlier_version_is_written_after_the_tables_are_migrated(
    database_url: str, tmp_path: Path
) -> None:
    engine = open_engine(database_url)
    with engine.begin() as c:
        study = queries.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        queries.register(c, study, fingerprint="f", declaration={}, source="", seed=0, facts={"uid": "u1"})
        (claim,) = queries.claim(c, study, "w", "host", 30, 1)
    writes = queries.WriteBatch()
    writes.requeue(queries.Requeue(claim.trial_id, 0, "folder"))
    keep(tmp_path, Origin("u1", study, "w"), writes)
    take_away(engine, "hpo_leases.claimed_at")
    _settle(engine, tmp_path)
    with engine.begin() as c:
        assert queries.counts(c, study)[TrialState.WAITING] == 1
    assert not list((tmp_path / "journal").iterdir())
    engine.dispose()


def test_migrated_tables_are_those_that_are_made_today(old_url: str, database_url: str) -> None:
    old, new = open_engine(old_url), open_engine(database_url)
    ensure_schema(old)
    for query in (COLUMNS, INDEXES):
        with old.connect() as a, new.connect() as b:
            assert {tuple(row) for row in a.execute(text(query))} == {tuple(row) for row in b.execute(text(query))}
    old.dispose()
    new.dispose()


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_works_on_older_tables_or_says_what_is_missing_and_what_makes_it(
    command: str, old_url: str, at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = open_engine(old_url)
    state = schema_state(engine)
    assert state.version < VERSION
    code = run_command([command, "--study", "old_finished"])
    said = capsys.readouterr().err
    if state.missing:
        assert code == StorageError.exit_code
        assert all(name in said for name in state.missing)
        assert "hpo db init" in said
    else:
        assert code == 0, said
    assert schema_state(engine) == state  # reading writes nothing
    assert run_command(["db", "init"]) == 0
    assert run_command([command, "--study", "old_finished"]) == 0, capsys.readouterr().err
    engine.dispose()


@pytest.fixture
def of_the_future(database_url: str, at_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that a newer hpo has migrated."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO hpo_schema (version, hpo) VALUES (99, '7.8.9')"))
        connection.execute(text("DROP TABLE hpo_sources"))
    engine.dispose()
    monkeypatch.setenv("HPO_STORAGE", database_url)
    return database_url


@pytest.mark.parametrize(
    "words",
    [
        "run --trials 1 --study mlp_digits",
        "worker --study mlp_digits",
        "db init",
        "db init --study mlp_digits",
        "status",
        "evaluate --study mlp_digits",
        "reproduce --study mlp_digits --trial 0",
        "dashboard --port 0",
        *(f"{command} --study mlp_digits" for command in READING),
    ],
)
def test_tables_of_a_newer_hpo_are_refused_with_both_versions_and_nothing_is_written(
    words: str, of_the_future: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("hpo.search.search", "hpo.results.reading"):
        monkeypatch.setattr(f"{place}.replay", lambda *_: pytest.fail("a journal was written"))
    assert run_command(words.split()) == StorageError.exit_code
    said = capsys.readouterr().err
    assert "version 99" in said
    assert f"version {VERSION}" in said
    assert "7.8.9" in said
    engine = open_engine(of_the_future)
    assert not inspect(engine).has_table("hpo_sources")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM studies")).scalar() == 0
    engine.dispose()


@pytest.mark.parametrize("gone", ["hpo_leases.claimed_at", "hpo_workers.code", "hpo_epochs", "hpo_epochs.metrics"])
def test_what_is_missing_is_named_by_every_command_and_by_doctor_and_made_by_db_init(
    gone: str, engine: Engine, at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_away(engine, gone)
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    for command in (*READING, "doctor"):
        study = [] if command == "doctor" else ["--study", "mlp_digits"]
        assert run_command([command, *study]) == (0 if command == "doctor" else StorageError.exit_code)
        shown = capsys.readouterr()
        assert gone in shown.out + shown.err
        assert "hpo db init" in shown.out + shown.err
    assert run_command(["db", "init"]) == 0
    assert schema_state(engine).ready


def take_away(engine: Engine, gone: str) -> None:
    table, _, column = gone.partition(".")
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}" if column else f"DROP TABLE {table}"))


@pytest.mark.parametrize("words", ["db init", "run --trials 1 --study mlp_digits", "status", "doctor"])
def test_a_column_whose_contents_nobody_knows_is_not_made_up(
    words: str, engine: Engine, at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_away(engine, "hpo_studies.fingerprint")
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    assert run_command(words.split()) == (1 if words == "doctor" else StorageError.exit_code)
    shown = capsys.readouterr()
    assert "hpo_studies.fingerprint" in shown.out + shown.err
    assert "backup" in shown.out + shown.err
    assert schema_state(engine).missing == ("hpo_studies.fingerprint",)


def test_migrations_are_done_once_in_order_and_all_together(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the version that is there to the newest, or not at all."""
    steps = (
        *migrations.MIGRATIONS,
        Migration(VERSION + 1, "a", ("INSERT INTO studies (study_name) VALUES ('a')",)),
        Migration(VERSION + 2, "b", ("INSERT INTO studies (study_name) VALUES ('b')",)),
    )
    broken = Migration(VERSION + 3, "c", ("INSERT INTO nowhere VALUES (1)",))

    def names() -> list[str]:
        with engine.connect() as connection:
            return list(connection.execute(text("SELECT study_name FROM studies ORDER BY study_id")).scalars())

    monkeypatch.setattr(migrations, "MIGRATIONS", (*steps, broken))
    monkeypatch.setattr(migrations, "VERSION", broken.version)
    with pytest.raises(StorageError):
        ensure_schema(engine)
    assert (names(), schema_state(engine).version) == ([], VERSION)
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    monkeypatch.setattr(migrations, "VERSION", VERSION + 2)
    for _ in range(2):
        ensure_schema(engine)
        assert (names(), schema_state(engine).version) == (["a", "b"], VERSION + 2)


def test_migrations_may_be_repeated(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE hpo_schema"))
    ensure_schema(engine)
    assert schema_state(engine).ready


def test_who_may_read_the_tables_but_not_their_version_reads_on(
    engine: Engine, at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GRANT SELECT ON ALL TABLES, given before hpo_schema was made, does not cover it."""
    optuna.create_study(storage=engine.url.render_as_string(hide_password=False), study_name="s")
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
        connection.execute(text("REVOKE ALL ON hpo_schema FROM reader"))
    url = engine.url.set(username="reader").render_as_string(hide_password=False)
    try:
        assert run_command(["status", "--storage", url]) == 0, capsys.readouterr().err
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP OWNED BY reader; DROP ROLE reader"))


def test_tables_change_only_together_with_their_version() -> None:
    """A changed table or function without a migration would leave every database of before behind. The digest is of
    the DDL."""
    made = [
        str(statement.compile(dialect=postgresql.dialect()))
        for table in tables.metadata.sorted_tables
        for statement in (
            CreateTable(table),
            *map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name))),
        )
    ]
    made += [*changes.NOTING, *routines.MAKING]
    digest = hashlib.sha256("".join(made).encode()).hexdigest()[:16]
    assert (VERSION, digest) == (4, "e9c6089de25804a3"), (
        "add a Migration to hpo/storage/migrations.py, then put both numbers here"
    )
    assert [migration.version for migration in migrations.MIGRATIONS] == list(range(1, VERSION + 1))
