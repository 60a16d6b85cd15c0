"""A study through a real PgBouncer with the settings of docs/deploy.md: how hundreds of hosts share a server."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from warm import WarmProcess, start_warm

from tests.system.deploy.password_server import PASSWORD, PasswordServer, free_port
from tests.system.deploy.recorded import recorded
from tests.system.deploy.tools import find, needs

ROOT = Path(__file__).resolve().parents[3]
SERVER_CONNECTIONS = 2
TRIALS = 6


def documented_settings() -> str:
    """The pgbouncer.ini that docs/deploy.md gives."""
    guide = (ROOT / "docs" / "deploy.md").read_text()
    found = re.search(r"^    \[databases\]\n(?:    .*\n)+", guide, re.MULTILINE)
    assert found is not None
    return textwrap.dedent(found[0])


@pytest.fixture
def pooled_url(server: PasswordServer, database: str) -> Iterator[str]:
    """The database's URL through a PgBouncer with two connections for everybody."""
    folder = Path(tempfile.mkdtemp(prefix="hpo-pgbouncer-"))
    port = free_port()
    (folder / "users").write_text(f'"hpo" "{PASSWORD}"\n')
    here = {
        "hpo = host=db.example.org port=5432": f"{database.rpartition('/')[2]} = host=127.0.0.1 port={server.port}",
        "listen_addr = *": "listen_addr = 127.0.0.1",
        "listen_port = 6432": f"listen_port = {port}",
        "/etc/pgbouncer/userlist.txt": f"{folder}/users",
        "default_pool_size = 40": f"default_pool_size = {SERVER_CONNECTIONS}",
        "max_client_conn = 5000": "max_client_conn = 200",  # more than this machine may open files for
    }
    settings = documented_settings()
    for theirs, ours in here.items():
        assert settings.count(theirs) == 1, theirs
        settings = settings.replace(theirs, ours)
    own = f"unix_socket_dir =\nlogfile = {folder}/log\npidfile = {folder}/pid\n"
    (folder / "pgbouncer.ini").write_text(settings + own)
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwnam(getpass.getuser())
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)
    process = subprocess.Popen(
        [find("pgbouncer"), "-q", str(folder / "pgbouncer.ini")],
        user=account.pw_uid if os.geteuid() == 0 else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = database.replace(f":{server.port}/", f":{port}/")
    until = time.monotonic() + 120
    while True:
        try:
            psycopg2.connect(url.replace("postgresql+psycopg2", "postgresql")).close()
            break
        except psycopg2.OperationalError:
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
    yield url
    process.send_signal(signal.SIGKILL)
    process.wait()
    shutil.rmtree(folder)


@needs("pgbouncer", why="the test runs one")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_workers_share_two_server_connections_and_lose_nothing(
    pooled_url: str, database: str, tmp_path: Path
) -> None:
    """Schema, leases, outcomes: nothing needs a connection of its own longer than a transaction."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'system' / 'deploy'}",
        "HPO_HOME": str(tmp_path),
        "HPO_STORAGE": pooled_url,
        "HPO_TRAINERS": "1",
        "HPO_DEVICES": "cpu",
    }

    def start(*words: str) -> WarmProcess:
        with said.open("ab") as output:
            return start_warm(["-m", "hpo", *words, "--study", "tiny:study"], tmp_path, environment, output.fileno())

    said = tmp_path / "said"
    assert start("db", "init", "--trials", str(TRIALS)).wait(100) == 0, said.read_text()
    workers = [start("worker") for _ in range(3)]
    assert [worker.wait(500) for worker in workers] == [0, 0, 0], said.read_text()
    assert "database away" not in said.read_text()
    end = recorded(database)
    end.check_nothing_lost()
    assert end.finished == len(end.states) == TRIALS
