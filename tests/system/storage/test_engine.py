"""URLs and errors: which database, what a failure means, and no password anywhere."""

from __future__ import annotations

import inspect
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
import sqlalchemy.exc
from refusing_server import refusing_server
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from hpo.errors import StorageError
from hpo.settings import Settings
from hpo.storage.engine import hide_password, is_outage, open_engine, resolve_url, storage_error

URL = "postgresql://me:s3cr%40t@127.0.0.1:1/db?connect_timeout=1"


def _classes(module: object, base: type[BaseException]) -> list[type[BaseException]]:
    return [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, base)]


def test_every_sqlalchemy_error_has_a_message() -> None:
    kinds = _classes(sqlalchemy.exc, sqlalchemy.exc.SQLAlchemyError)
    assert len(kinds) > 40
    for kind in kinds:
        error = kind.__new__(kind)
        Exception.__init__(error, f"refused for {URL} s3cr@t")
        if isinstance(error, sqlalchemy.exc.StatementError):
            error.orig, error.statement = psycopg2.OperationalError("s3cr@t"), ""
            error.params, error.ismulti = None, None
            error.connection_invalidated = False  # type: ignore[attr-defined]
        check_message(error)


def test_every_driver_error_has_a_message() -> None:
    kinds = [*_classes(psycopg2, psycopg2.Error), *_classes(psycopg2.errors, psycopg2.Error)]
    assert len(kinds) > 270
    for kind in kinds:
        check_message(kind("text s3cr@t"))
        check_message(sqlalchemy.exc.DBAPIError("SELECT", None, kind("text s3cr@t")))


def check_message(error: Any) -> None:
    """It says what to do next, shows no password, and is an outage or none."""
    message = storage_error(error, URL)
    assert isinstance(message, StorageError), type(error)
    assert message.next, type(error)
    assert "s3cr" not in str(message), type(error)
    assert isinstance(is_outage(error), bool), type(error)


@pytest.mark.parametrize(
    ("words", "outage"),
    [
        ("server closed the connection unexpectedly", True),
        ("could not translate host name", True),
        ("FATAL:  sorry, too many clients already", True),
        ("FATAL:  the database system is starting up", True),
        ("Connection refused", True),
        ('FATAL:  password authentication failed for user "me"', False),
        ('FATAL:  database "x" does not exist', False),
        ('FATAL:  role "x" does not exist', False),
    ],
)
def test_only_what_may_pass_is_an_outage(words: str, outage: bool) -> None:
    assert is_outage(psycopg2.OperationalError(words)) is outage


def test_an_error_that_is_no_database_error_is_no_outage() -> None:
    assert not is_outage(KeyError("x"))
    assert not is_outage(sqlalchemy.exc.ProgrammingError("x", None, psycopg2.ProgrammingError("x")))


@pytest.mark.parametrize(
    "url",
    [URL, "postgresql://me:s3cr@t@host/db", "postgresql://host/db?password=s3cret", "nonsense://:s3cret@x", "a:s3cr"],
)
def test_the_password_is_never_shown(url: str) -> None:
    if url != "a:s3cr":
        assert "s3cr" not in hide_password(url)
    else:
        assert hide_password("no url") == "no url"


def test_an_unreachable_database_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hidden-one")
    engine = open_engine(URL)
    with pytest.raises(sqlalchemy.exc.OperationalError) as caught, engine.begin():
        pass
    assert is_outage(caught.value)
    message = str(storage_error(caught.value, URL))
    assert "cannot reach the database postgresql://me:***@127.0.0.1:1/db" in message
    assert "refused" in message
    assert "s3cr" not in message


@pytest.mark.parametrize("url", ["nonsense", "nonsense://x/y", "postgresql://host:port/db", "mysql+nodriver://x/y"])
def test_text_that_is_no_url_is_one_clear_error(url: str) -> None:
    with pytest.raises(StorageError):
        open_engine(url)


def test_the_url_is_the_option_then_the_environment(settings: Settings, tmp_path: Path) -> None:
    wanted = "postgresql+psycopg2://a@h/x"
    assert resolve_url(settings, "postgres://a@h/x") == wanted
    named = Settings(home=settings.home, storage="postgresql://a@h/x")
    assert resolve_url(named) == resolve_url(named, None) == wanted
    sqlite = f"sqlite:///{tmp_path}/x.db"
    assert resolve_url(settings, sqlite, write=False) == sqlite
    with pytest.raises(StorageError, match="not a PostgreSQL") as caught:
        resolve_url(settings, sqlite)
    assert caught.value.exit_code == 4


def test_a_password_file_fills_in(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("p@ss/word\n")
    monkeypatch.setenv("HPO_STORAGE_PASSWORD_FILE", str(secret))
    assert make_url(resolve_url(settings, "postgresql://a@h/x")).password == "p@ss/word"
    assert make_url(resolve_url(settings, "postgresql://a:own@h/x")).password == "own"
    monkeypatch.setenv("HPO_STORAGE_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="password file"):
        resolve_url(settings, "postgresql://a@h/x")


def test_a_terminated_connection_is_an_outage_and_the_next_one_works(engine: Engine, database_url: str) -> None:
    other = open_engine(database_url)
    connection = engine.connect()
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with other.begin() as c:
        c.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        connection.execute(text("SELECT 1"))
    assert is_outage(caught.value)
    connection.close()
    with engine.begin() as c:
        assert c.execute(text("SELECT 1")).scalar() == 1
    other.dispose()


def test_a_connection_that_nobody_used_for_a_while_is_tried_before_it_is_used(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that restarted meanwhile is not seen. One used just now is not tried: that is a message each time."""
    other = open_engine(database_url)

    def end_the_idle_one() -> None:
        with engine.connect() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with other.begin() as c:
            c.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    end_the_idle_one()
    with pytest.raises(sqlalchemy.exc.OperationalError), engine.begin() as c:
        c.execute(text("SELECT 1"))
    monkeypatch.setattr("hpo.storage.engine.IDLE_SECONDS", 0.0)
    end_the_idle_one()
    with engine.begin() as c:
        assert c.execute(text("SELECT 1")).scalar() == 1
    other.dispose()


@pytest.mark.faults
def test_a_silent_server_loses_the_connection(postgres_server: object, database_url: str) -> None:
    """A proxy that stops forwarding, and still acknowledges every packet."""
    url = make_url(database_url)
    target = f"{url.query['host']}/.s.PGSQL.5432"
    listener = socket.create_server(("127.0.0.1", 0))
    flowing = threading.Event()
    flowing.set()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            flowing.wait()
            sink.sendall(data)

    def serve() -> None:
        front, _ = listener.accept()
        back = socket.socket(socket.AF_UNIX)
        back.connect(target)
        threading.Thread(target=pump, args=(front, back), daemon=True).start()
        pump(back, front)

    threading.Thread(target=serve, daemon=True).start()
    through = url.set(host="127.0.0.1", port=listener.getsockname()[1], query={})
    engine = open_engine(through.render_as_string(hide_password=False), statement_seconds=5.0)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        flowing.clear()
        begun = time.monotonic()
        with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
            connection.execute(text("SELECT 2"))
    assert is_outage(caught.value)
    assert time.monotonic() - begun < 5 + 4
    listener.close()


@pytest.mark.parametrize("statement", ["SELECT gone FROM hpo_studies", "SELECT 1 FROM hpo_gone"])
def test_a_missing_table_or_column_is_told_as_that(engine: Engine, statement: str) -> None:
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError) as caught, engine.connect() as connection:
        connection.execute(text(statement))
    said = str(storage_error(caught.value, str(engine.url)))
    assert "is missing" in said
    assert "gone" in said
    assert "hpo db init" in said
    assert "bug" not in said


@pytest.mark.parametrize(
    ("code", "text", "outage", "hint"),
    [
        ("28P01", "Passwort-Authentifizierung für Benutzer »me« fehlgeschlagen", False, "%40"),
        ("28000", "kein pg_hba.conf-Eintrag für Host »x«", False, "pg_hba.conf"),
        ("3D000", "Datenbank »db« existiert nicht", False, "createdb"),
        ("42501", "keine Berechtigung für Datenbank »db«", False, "CONNECT"),
        ("57P03", "das Datenbanksystem startet", True, "wait until"),
        ("53300", "tut mir leid, schon zu viele Verbindungen", True, "max_connections"),
    ],
)
def test_a_refusal_is_understood_whatever_language_the_server_speaks(
    code: str, text: str, outage: bool, hint: str
) -> None:
    with refusing_server(code, text) as url, pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        open_engine(url).connect()
    assert is_outage(caught.value) is outage
    message = storage_error(caught.value, url)
    assert message.fact.startswith("cannot reach the database")
    assert text in str(message)
    assert hint in message.next
    assert "s3cret" not in str(message)
