"""What is taken for a database's URL, and that no part of a password is ever shown."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpo.errors import StorageError
from hpo.settings import Settings
from hpo.storage.database_url import database_file, hide_password, parse_url
from hpo.storage.engine import open_engine, resolve_url
from hpo.storage.failures import storage_error

PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1) | st.text(
    "@:/?#%&=[] \n'\"x", min_size=1
)


@given(PASSWORDS)
def test_a_password_with_any_character_is_taken_where_it_is_encoded(password: str) -> None:
    for encoded in (quote(password, safe=""), quote_plus(password).replace("+", "%20")):
        url = resolve_url(Settings(home=Path()), f"postgresql://me:{encoded}@host/db")
        assert parse_url(url).password == password
        assert hide_password(url) == "postgresql+psycopg2://me:***@host/db"


@given(PASSWORDS)
@example("@?=")
@example("@:?=")
@example("x@h/d?x=")
def test_a_password_as_it_is_works_or_is_refused_and_shows_no_part(password: str) -> None:
    """An @ in it leaves open where it ends: then the error says how it is written."""
    url = f"postgresql://me:{password}@host/db"
    assert hide_password(url) == "postgresql://me:***@host/db"
    if "@" not in password:
        assert parse_url(url).host == "host"
        return
    with pytest.raises(StorageError) as caught:
        parse_url(url)
    assert caught.value.fact == "more than one @ in postgresql://me:***@host/db"
    assert "write @ as %40" in caught.value.next
    assert "HPO_STORAGE_PASSWORD_FILE" in caught.value.next


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cr@c@host/db?sslmode=require", "postgresql://me:***@host/db?sslmode=require"),
        ("postgresql://me/x:s3c@host/db", "postgresql://me/x:***@host/db"),
        ("postgresql:///me:s3c@host/db", "postgresql:///me:***@host/db"),
        ("postgresql:/me:s3c@host/db", "postgresql:/me:***@host/db"),
        ("postgresql://me:s3c/db", "postgresql://me:***/db"),
        ("me:s3:c@host/db", "me:***@host/db"),
        ("host=h user=me password=s3c", "host=h user=me password=***"),
        ("host=h password='s3 c' user=me", "host=h password=*** user=me"),
        ("postgresql://me:s3cr@h:1,g:2/db", "postgresql://me:***@h:1,g:2/db"),
        ("redis://:s3c@host/0", "redis://:***@host/0"),
    ],
)
def test_what_is_no_url_shows_no_password_either(text: str, shown: str) -> None:
    assert hide_password(text) == shown
    with pytest.raises(StorageError) as caught:
        parse_url(text)
    assert "s3" not in str(caught.value)
    assert shown in str(caught.value)
    assert "s3" not in str(storage_error(ValueError(text), text))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me%40x:p@host/db",
        "postgresql://me@x.com@host/db",
        "postgresql:///db?host=/cloudsql/a:b:c&user=me@x.com",
        "postgresql:///db?host=@abstract",
        "sqlite:////home/me:x@place/study.db",
        "postgresql://[::1]:5432/db",
        "postgresql://u:p@h/db?application_name=me@laptop",
        "postgresql://u:p@h/db?sslmode=require&options=-c%20x=a:b@c",
        "mysql://u:p@h/db?x=y@z",
    ],
)
def test_an_at_sign_elsewhere_does_no_harm(url: str) -> None:
    assert parse_url(url)
    assert "***" not in hide_password(url) or ":p@" in url


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async", "asyncpg", "pg8000", "psycopg2cffi", "psycopg2"])
def test_a_server_is_opened_whatever_driver_its_url_names(driver: str) -> None:
    url = resolve_url(Settings(home=Path()), f"postgresql+{driver}://me@host:5433/db")
    assert url == "postgresql+psycopg2://me@host:5433/db"
    assert open_engine(f"postgresql+{driver}://me@host:5433/db").driver == "psycopg2"


@pytest.mark.parametrize("port", ["port", "54 32", "0x1", "5432:", "s3cret"])
def test_a_port_that_is_no_number_is_said_to_be_none_and_not_shown(port: str) -> None:
    """It may be a password, where the host was forgotten."""
    with pytest.raises(StorageError) as caught:
        parse_url(f"postgresql://host:{port}/db")
    assert str(caught.value) == (
        "the port in postgresql://host:***/db is not a number\nnext: write it as postgresql://user@host:5432/database"
    )


def test_several_hosts_are_written_as_the_error_says() -> None:
    with pytest.raises(StorageError, match="several hosts") as caught:
        parse_url("postgresql://a:5432,b:5432/database")
    assert parse_url(caught.value.next.split()[-1]).query == {"host": ("a:5432", "b:5432")}


def test_a_driver_that_is_not_installed_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(
        StorageError, match=r"the package that opens mysql://me:\*\*\*@host/db is not installed"
    ) as caught:
        open_engine("mysql://me:s3cret@host/db")
    assert "pip install mysqlclient" in caught.value.next


def test_a_driver_for_asyncio_is_refused_with_the_plain_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiosqlite", sqlite3)
    with pytest.raises(StorageError, match="asyncio") as caught:
        open_engine("sqlite+aiosqlite:///study.db")
    assert caught.value.next == "write sqlite:///study.db"


def test_a_bare_file_name_is_met_with_its_url(tmp_path: Path) -> None:
    file = tmp_path / "study.anything"
    sqlite3.connect(file).execute("CREATE TABLE t (x int)").connection.close()
    for text, url in ((str(file), f"sqlite:///{file}"), ("example.db", "sqlite:///example.db")):
        with pytest.raises(StorageError) as caught:
            parse_url(text)
        assert url in caught.value.next


def test_a_journal_of_optunas_is_called_one_however_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "journal.log"
    file.write_text(json.dumps({"op_code": 0, "worker_id": "x", "study_name": "s"}) + "\n")
    damaged = sqlite3.DatabaseError("file is not a database")
    with pytest.raises(StorageError) as caught:
        parse_url(str(file))
    for error in (caught.value, storage_error(_wrapped(damaged), f"sqlite:///{file}")):
        assert f"{file} is a journal of Optuna's (JournalStorage), and hpo reads databases" in error.fact
        assert "optuna.copy_study" in error.next
    with pytest.raises(StorageError, match="JournalStorage"):
        parse_url("redis://host:6379/0")


def _wrapped(error: Exception) -> Exception:
    from sqlalchemy.exc import DatabaseError

    return DatabaseError("SELECT 1", None, error)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///study.db", "study.db"),
        ("sqlite:///file:study.db?mode=ro&uri=true", "study.db"),
        ("sqlite:///file:///a%20b/study.db?uri=true", "/a b/study.db"),
        ("sqlite+pysqlite:////x/y.db", "/x/y.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
    ],
)
def test_the_file_of_an_sqlite_url(url: str, file: str | None) -> None:
    assert database_file(parse_url(url)) == (None if file is None else Path(file))
