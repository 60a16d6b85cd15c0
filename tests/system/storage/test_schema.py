"""The schema step: once, whoever comes first; another Optuna's tables and old servers are refused."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from multiprocessing.queues import Queue
from pathlib import Path

import optuna
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from sqlalchemy import event, inspect, text

from hpo.cli.main import run_command
from hpo.errors import StorageError
from hpo.storage import optuna_internals, optuna_schema, schema, tables
from hpo.storage.engine import open_engine
from hpo.storage.schema import SchemaState, ensure_schema, schema_state


def _race(url: str, results: Queue[str]) -> None:
    try:
        ensure_schema(open_engine(url))
        results.put("")
    except BaseException as error:  # noqa: BLE001 # the parent shows it
        results.put(repr(error))


def test_eight_processes_race_on_an_empty_database(empty_database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    results: Queue[str] = context.Queue()
    processes = [context.Process(target=_race, args=(empty_database_url, results)) for _ in range(8)]
    for process in processes:
        process.start()
    assert [results.get(timeout=120) for _ in processes] == [""] * 8
    for process in processes:
        process.join()
    engine = open_engine(empty_database_url)
    assert schema_state(engine).ready
    assert optuna.create_study(storage=empty_database_url).ask().number == 0
    engine.dispose()


def test_the_tables_are_those_that_optuna_makes(empty_database_url: str, database_url: str) -> None:
    RDBStorage(empty_database_url)
    theirs, ours = open_engine(empty_database_url), open_engine(database_url)
    extra = set(inspect(ours).get_table_names()) - set(inspect(theirs).get_table_names())
    assert extra == set(tables.metadata.tables)
    for query in ("SELECT version_num FROM alembic_version", "SELECT * FROM version_info"):
        with theirs.begin() as a, ours.begin() as b:
            assert a.execute(text(query)).all() == b.execute(text(query)).all()
    theirs.dispose()
    ours.dispose()


_COLUMNS = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default, udt_name"
    " FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'hpo%'"
)
_CONSTRAINTS = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'hpo%'"
)
_OWN_INDEXES = (
    "SELECT indexdef FROM pg_indexes"
    " WHERE schemaname = 'public' AND tablename NOT LIKE 'hpo%' AND indexname NOT LIKE 'hpo%'"
)
_ENUMS = (
    "SELECT typname, array_agg(enumlabel::text ORDER BY enumsortorder)"
    " FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid GROUP BY typname"
)


@pytest.mark.parametrize("query", [_COLUMNS, _CONSTRAINTS, _OWN_INDEXES, _ENUMS])
def test_columns_constraints_indexes_and_enums_are_those_that_optuna_makes(
    empty_database_url: str, database_url: str, query: str
) -> None:
    """hpo.storage.optuna_schema spells the tables out: to the last column as the installed Optuna has them."""
    RDBStorage(empty_database_url)
    theirs, ours = open_engine(empty_database_url), open_engine(database_url)
    with theirs.begin() as a, ours.begin() as b:
        found = [sorted(repr(row) for row in connection.execute(text(query))) for connection in (a, b)]
    assert found[0] == found[1]
    assert len(found[0]) > 3
    theirs.dispose()
    ours.dispose()


def test_a_database_that_plain_optuna_made_gets_our_tables(empty_database_url: str) -> None:
    study = optuna.create_study(storage=empty_database_url, study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    engine = open_engine(empty_database_url)
    ensure_schema(engine)
    assert schema_state(engine).ready
    assert len(study.trials) == 1
    engine.dispose()


def test_a_database_left_half_made_is_completed(empty_database_url: str) -> None:
    engine = open_engine(empty_database_url)
    optuna_schema.metadata.create_all(engine)
    ensure_schema(engine)
    assert schema_state(engine).ready
    engine.dispose()


def test_nothing_to_do_costs_two_statements(database_url: str) -> None:
    engine = open_engine(database_url)
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda c, cursor, statement, *rest: seen.append(statement))
    ensure_schema(engine)
    assert len(seen) == 2
    engine.dispose()


@pytest.mark.parametrize(
    ("revision", "next_step"), [("v3.0.0.d", "optuna storage upgrade"), ("v9.9.0", "pip install -U optuna")]
)
def test_another_optuna_schema_is_refused(database_url: str, revision: str, next_step: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        connection.execute(text("DROP TABLE hpo_epochs"))
    with pytest.raises(StorageError, match=revision) as caught:
        ensure_schema(engine)
    assert next_step in str(caught.value)
    assert optuna_internals.head_revision() in str(caught.value)
    assert not inspect(engine).has_table("hpo_epochs")
    engine.dispose()


@pytest.fixture
def unknown_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the installed Optuna were of a schema that hpo was not written for."""
    monkeypatch.setattr(optuna_schema, "REVISIONS", ("v0.0.0.x",))


@pytest.mark.parametrize("words", ["run --trials 2", "worker", "db init", "db init --trials 2"])
@pytest.mark.parametrize("embedded", [False, True])
def test_an_optuna_of_an_unknown_schema_is_refused_before_anything_is_written(
    words: str,
    embedded: bool,
    unknown_optuna: None,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    if not embedded:
        monkeypatch.setenv("HPO_STORAGE", empty_database_url)
    study = [] if words == "db init" else ["--study", "mlp_digits"]
    assert run_command([*words.split(), *study]) == StorageError.exit_code
    said = capsys.readouterr().err
    assert optuna_internals.head_revision() in said
    assert "v0.0.0.x" in said
    assert not (tmp_path / "home" / "postgres").exists()
    engine = open_engine(empty_database_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


@pytest.mark.parametrize("words", ["status", "best", "trials", "report"])
def test_commands_that_read_work_with_an_optuna_of_an_unknown_schema(
    words: str,
    unknown_optuna: None,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    optuna.create_study(storage=database_url, study_name="s").optimize(
        lambda trial: trial.suggest_float("x", 0, 1), n_trials=3
    )
    monkeypatch.chdir(tmp_path)
    assert run_command([words, "--study", "s", "--storage", database_url]) == 0, capsys.readouterr().err


def test_a_run_is_refused_by_a_database_of_another_schema_before_a_journal_is_written_into_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9.9.0'"))
    engine.dispose()
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("hpo.search.search.replay", lambda *_: pytest.fail("a journal was written"))
    assert run_command(["run", "--study", "mlp_digits", "--storage", database_url]) == StorageError.exit_code
    said = capsys.readouterr().err
    assert "v9.9.0" in said
    assert optuna_internals.head_revision() in said


def test_an_old_server_is_refused() -> None:
    with pytest.raises(StorageError, match=r"PostgreSQL 12\.7"):
        schema._check(SchemaState(120007, None, "v3.2.0.a", None))


def test_sqlite_is_refused_for_writing() -> None:
    with pytest.raises(StorageError, match="not PostgreSQL"):
        ensure_schema(open_engine("sqlite://"))


def test_the_optuna_command_opens_it(database_url: str) -> None:
    program = "from optuna.cli import main; import sys; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, "studies", "--storage", database_url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_revisions_read_from_optunas_scripts_are_those_alembic_finds() -> None:
    config = Config()
    folder = Path(optuna.storages.__file__).parent / "_rdb" / "alembic"
    config.set_main_option("script_location", str(folder))
    script = ScriptDirectory.from_config(config)
    assert optuna_internals.head_revision() == script.get_current_head()
    assert optuna_internals.known_revisions() == {each.revision for each in script.walk_revisions()}


def test_the_pin_names_the_optuna_that_hpo_says_it_was_tried_with() -> None:
    pins = (Path(__file__).resolve().parents[3] / "constraints.txt").read_text().splitlines()
    assert f"optuna=={optuna_schema.TRIED}" in pins
