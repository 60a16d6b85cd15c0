"""A PgBouncer in front of the server that comes with hpo: transaction pooling, as docs/deploy.md sets it up."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
from sqlalchemy.engine import URL

from hpo.storage.embedded.account import server_user

__all__ = ["pooled"]

PORT = 6432


@contextmanager
def pooled(server: URL, home: Path, size: int, clients: int) -> Iterator[tuple[URL, psutil.Process]]:
    """The URL by which so many clients share `size` connections to each database of the server; and the process."""
    user = server_user(home / "postgres")
    # Not in `home`, whose folders are closed to other accounts, as this one may be.
    folder = Path(tempfile.mkdtemp(prefix="hpo-pool-"))
    folder.chmod(0o755)
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={server.query['host']} port={server.query.get('port', '5432')} user={server.username}\n"
        f"[pgbouncer]\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {size}\n"
        f"max_client_conn = {clients}\nlisten_addr =\nlisten_port = {PORT}\nunix_socket_dir = {folder}\n"
        f"logfile = {folder}/log\npidfile = {folder}/pid\n"
    )
    for path in (folder, settings):
        user.own(path)
    program = shutil.which("pgbouncer", path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    assert program is not None, "PgBouncer is not installed"
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit -n "$(ulimit -Hn)"; exec {program} -q {settings}'],
        user=user.uid if user.name else None,
        group=user.gid if user.name else None,
        extra_groups=[] if user.name else None,
    )
    try:
        url = server.set(query={"host": str(folder), "port": str(PORT)})
        _await(url, process, folder / "log")
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _await(url: URL, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            psycopg2.connect(
                host=url.query["host"], port=url.query["port"], user=url.username, dbname="postgres"
            ).close()
            return
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(log.read_text() if log.exists() else "PgBouncer did not start") from None
            time.sleep(0.1)
