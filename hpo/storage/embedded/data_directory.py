"""The data folder of the embedded server: made whole or not at all. A folder that hpo did not make is refused."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from hpo.disk import is_full
from hpo.errors import StorageError
from hpo.ownership import open_no_link
from hpo.storage.embedded.account import MAJOR, ServerUser

__all__ = ["initialise"]

# A few clients, small rows, one disk. Nothing here trades safety: fsync and synchronous_commit stay on.
_CONFIGURATION = """
# hpo: the embedded server
shared_buffers = 32MB
max_connections = 200
superuser_reserved_connections = 3
io_method = sync
jit = off
max_parallel_workers_per_gather = 0
max_wal_size = 256MB
wal_level = minimal
max_wal_senders = 0
huge_pages = off
unix_socket_permissions = 0700
listen_addresses = ''
idle_in_transaction_session_timeout = 5min
timezone = UTC
log_timezone = UTC
"""


def initialise(data: Path, user: ServerUser) -> None:
    """Make `data` a data folder unless it is one: initdb beside it, then one rename, so a kill leaves no half.

    Raises StorageError for a folder of another version or damaged, and when initdb fails (disk full, read-only).
    """
    for left in data.parent.glob("postgres.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    if (data / "PG_VERSION").exists():
        _check_version(data)
        return
    if data.exists():
        _set_aside(data)
    fresh = data.with_name(f"postgres.new-{os.getpid()}")
    evidence: list[str] = []
    for _ in range(2):  # initdb was seen to abort once in several hundred runs on a busy machine
        try:
            evidence = _initdb(fresh, user)
            if not evidence:
                fresh.rename(data)
                return
        except OSError as error:
            evidence = [str(error)]
        shutil.rmtree(fresh, ignore_errors=True)
    why = ": its disk is full" if is_full("\n".join(evidence)) else ""
    raise StorageError(
        f"cannot make a database in {data}{why}",
        evidence=evidence,
        next="make room or set HPO_HOME to another folder, or give --storage postgresql://...",
    )


def _initdb(fresh: Path, user: ServerUser) -> list[str]:
    """Nothing, or what went wrong."""
    fresh.mkdir(mode=0o700)
    user.own(fresh)
    arguments = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions")
    done = user.run(fresh.parent, "initdb", *arguments, "-D", fresh.name)
    if done.returncode != 0:
        return _telling(done.stderr) or [f"initdb ended with {done.returncode}"]
    with os.fdopen(open_no_link(fresh / "postgresql.conf", os.O_WRONLY | os.O_APPEND), "wb") as configuration:
        configuration.write(_CONFIGURATION.encode())
    return []


def _check_version(data: Path) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    if found != str(MAJOR):
        raise StorageError(
            f"{data} was made by PostgreSQL {found or '(no version)'}; this hpo comes with {MAJOR}",
            next="set HPO_HOME to another folder, or upgrade that one with pg_upgrade",
        )


def _set_aside(data: Path) -> None:
    """A folder without PG_VERSION: remains of an interrupted initdb are moved aside, anything with data stays."""
    if (data / "base" / "1").exists() and (data / "global" / "pg_control").exists():
        raise StorageError(
            f"the database in {data} is damaged: PG_VERSION is missing",
            next=f"restore it from a backup, or move {data} away to begin anew",
        )
    data.rename(data.with_name(f"postgres.broken-{time.time_ns()}"))


def _telling(output: str) -> list[str]:
    """The lines of a program's output that say what went wrong, and its last ones."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    loud = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "error:", "could not"))]
    return [*loud[:4], *(line for line in lines[-3:] if line not in loud[:4])]
