"""The embedded server's log stays small while the server runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from hpo.storage.embedded import server_log
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.embedded.server_log import MOST_BYTES, rotate


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    leave_embedded(tmp_path / "home")


def fill(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b"x" * (MOST_BYTES - 4) + b"end\n" + b"\n")


def provoke(url: str) -> None:
    """Let the server write a line into its log."""
    parsed = make_url(url)
    connection = psycopg2.connect(host=parsed.query["host"], port=parsed.query["port"], user=parsed.username,
                                  dbname=parsed.database)  # fmt: skip
    with contextlib.closing(connection), connection.cursor() as cursor, pytest.raises(psycopg2.Error):
        cursor.execute("SELECT provoked")


def test_the_log_of_a_running_server_is_put_aside_and_written_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the process that uses the server, whatever it does meanwhile; what comes next begins an empty file."""
    monkeypatch.setattr(server_log, "LOOK_SECONDS", 0.05)
    url = embedded_url(home)
    log, before = home / "postgres.log", home / "postgres.log.1"
    fill(log)
    until = time.monotonic() + 20
    while not before.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert before.read_bytes().endswith(b"end\n\n")
    assert before.stat().st_uid == log.stat().st_uid
    provoke(url)
    written = log.read_bytes()
    assert b"provoked" in written
    assert not written.startswith(b"\0")
    assert len(written) < 10_000
    assert {path.name for path in home.glob("*postgres.log*")} == {"postgres.log", "postgres.log.1"}


def test_a_log_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_bytes(b"x" * MOST_BYTES)
    assert not rotate(log)
    assert not rotate(tmp_path / "none.log")
    assert log.stat().st_size == MOST_BYTES


@pytest.mark.parametrize("kind", ["link", "second name"])
def test_a_file_that_is_also_something_else_is_left_alone(tmp_path: Path, kind: str) -> None:
    """Whoever owns the folder could otherwise have root empty any file."""
    other, log = tmp_path / "precious", tmp_path / "postgres.log"
    fill(other)
    size = other.stat().st_size
    log.symlink_to(other) if kind == "link" else log.hardlink_to(other)
    assert not rotate(log)
    assert other.stat().st_size == size
    assert not (tmp_path / "postgres.log.1").exists()
