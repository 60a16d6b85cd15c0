"""A PostgreSQL as a deployment has it: over TCP, with a password, for several processes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpo.storage.embedded.account import server_user

PASSWORD = "correct-horse"


@dataclass(frozen=True)
class PasswordServer:
    """A server on 127.0.0.1 with the user hpo, who owns the databases."""

    port: int
    programs: Path

    def url(self, database: str = "hpo", *, password: str = PASSWORD) -> str:
        secret = f":{password}" if password else ""
        return f"postgresql+psycopg2://hpo{secret}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        self.run("createdb", name)
        return self.url(name)

    def run(self, program: str, *arguments: str) -> str:
        """One of PostgreSQL's client programs, as the user hpo."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "hpo"]
        done = subprocess.run(
            [str(self.programs / program), *where, *arguments],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


@contextmanager
def password_server(*settings: str) -> Iterator[PasswordServer]:
    """A fresh server for the block. `settings` are name=value."""
    folder = Path(tempfile.mkdtemp(prefix="hpo-deploy-"))
    user = server_user(folder / "data")
    user.own(folder)
    (folder / "password").write_text(PASSWORD)
    user.own(folder / "password")
    port = free_port()
    options = " ".join(
        f"-c {each}" for each in (f"port={port}", "listen_addresses=127.0.0.1", "fsync=off", *settings)
    )  # the socket goes into the data folder, out of everybody's way
    run = _runner(user.name, user.gid, folder, user.programs)
    try:
        run("initdb", "-U", "hpo", "-D", "data", "--auth=scram-sha-256", "--pwfile=password", "--no-instructions")
        run("pg_ctl", "-w", "-D", "data", "-l", "log", "-o", f"{options} -k {folder}/data", "start")
        server = PasswordServer(port, user.programs)
        server.create_database("hpo")
        yield server
    finally:
        run("pg_ctl", "-w", "-D", "data", "-m", "immediate", "stop", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _runner(name: str | None, gid: int, folder: Path, programs: Path):  # type: ignore[no-untyped-def]
    def run(program: str, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [str(programs / program), *arguments],
            cwd=folder,
            user=name,
            group=gid if name else None,
            extra_groups=[] if name else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would never end
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=check,
            timeout=60,
        )

    return run
