"""A PgBouncer in front of a server on this machine, pooling transactions as docs/deploy.md says."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

__all__ = ["pgbouncer"]

POOL = 40


@contextmanager
def pgbouncer(server: URL, clients: int) -> Iterator[URL]:
    """The URL of the same database through a PgBouncer for so many clients, with POOL connections to the server."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    folder = Path(tempfile.mkdtemp(prefix="hpo-pgbouncer-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{server.database} = host={server.query['host']} port={server.query['port']} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = {POOL}\nmax_client_conn = {clients + 50}\nunix_socket_dir =\n"
        f"logfile = {folder}/log\npidfile = {folder}/pid\n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    root = os.geteuid() == 0  # which PgBouncer refuses to run as
    if root:
        account = pwd.getpwnam("postgres")
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
    process = subprocess.Popen(
        [program, "-q", str(folder / "pgbouncer.ini")],
        user="postgres" if root else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port, folder)
        yield server.set(host="127.0.0.1", port=port, query={})
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder)


def _wait(port: int, folder: Path) -> None:
    until = time.monotonic() + 30
    while True:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > until:
            raise RuntimeError((folder / "log").read_text())
        time.sleep(0.1)
