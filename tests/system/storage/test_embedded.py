"""The server that comes with hpo, with real processes that are really killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from hpo.errors import StorageError
from hpo.storage.embedded import embedded
from hpo.storage.embedded.embedded import embedded_url, leave_embedded, stop_embedded
from hpo.storage.embedded.server import START_SECONDS, Server
from hpo.storage.engine import open_engine

CLIENT = """
import sys
from pathlib import Path
from hpo.storage.embedded.embedded import embedded_url
embedded_url(Path(sys.argv[1]))
print("up", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    leave_embedded(folder)
    if (folder / "postgres").exists():
        stop_embedded(folder)


def client(home: Path, *, wait: bool = True) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if wait:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    return process


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=300)
    assert process.returncode == 0


def answers(home: Path) -> bool:
    """Within a minute: one that was stopped never does."""
    until = time.monotonic() + 60
    while not (there := Server(home / "postgres").answers()) and time.monotonic() < until:
        time.sleep(0.05)
    return there


def is_gone(home: Path) -> bool:
    return not Server(home / "postgres").answers() and not (home / "postgres" / "postmaster.pid").exists()


def postmaster(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))


def remember(home: Path) -> None:
    engine = open_engine(embedded_url(home))
    with engine.begin() as c:
        c.execute(text("CREATE TABLE remembered (x int)"))
    engine.dispose()


def recalls(home: Path) -> bool:
    engine = open_engine(embedded_url(home))
    with engine.begin() as c:
        found = c.execute(text("SELECT count(*) FROM remembered")).scalar()
    engine.dispose()
    return found == 0


def test_settings_of_other_servers_do_not_matter(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PGPORT", "6543"), ("PGHOST", "elsewhere"), ("PGUSER", "me"), ("PGDATA", "/nowhere")):
        monkeypatch.setenv(name, value)
    remember(home)
    assert recalls(home)


def test_only_its_owner_reaches_it_and_commits_are_safe(home: Path) -> None:
    engine = open_engine(embedded_url(home))
    shown = {}
    with engine.begin() as c:
        for name in ("listen_addresses", "fsync", "synchronous_commit", "full_page_writes", "max_connections"):
            shown[name] = c.execute(text(f"SHOW {name}")).scalar()
    engine.dispose()
    assert shown.pop("max_connections") == "200"
    assert shown == {"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "postgres" / ".s.PGSQL.5432").stat().st_mode) & 0o077 == 0
    assert not [each for each in postmaster(home).net_connections() if each.family != 1]


def test_the_last_to_leave_stops_it_and_no_one_before(home: Path) -> None:
    first, second = client(home), client(home)
    finish(first)
    assert answers(home)
    finish(second)
    assert is_gone(home)


@pytest.mark.faults
def test_a_killed_client_leaves_no_stale_lock(home: Path) -> None:
    first, second = client(home), client(home)
    first.kill()
    first.wait()
    assert answers(home)
    finish(second)
    assert is_gone(home)


@pytest.mark.faults
def test_a_killed_server_comes_back_with_everything_committed(home: Path) -> None:
    remember(home)
    postmaster(home).kill()
    assert recalls(home)


@pytest.mark.faults
def test_a_stopped_server_is_replaced(home: Path) -> None:
    remember(home)
    postmaster(home).send_signal(signal.SIGSTOP)
    assert recalls(home)


@pytest.mark.faults
def test_a_pid_that_is_somebody_elses_now_is_no_server(home: Path) -> None:
    remember(home)
    pid_file = home / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    postmaster(home).kill()
    for content in ("\n".join([str(os.getpid()), *lines[1:]]), "1\n", ""):
        pid_file.write_text(content)
        assert recalls(home)
        stop_embedded(home)


@pytest.mark.faults
def test_many_come_and_go_and_some_are_killed(home: Path) -> None:
    processes = [client(home, wait=False) for _ in range(6)]
    for process in processes[::3]:
        process.kill()
        process.wait()
    for process in processes:
        if process.returncode is None:
            finish(process)
    assert is_gone(home)
    late = client(home)
    finish(late)


@pytest.mark.faults
def test_an_interrupted_initdb_is_forgotten(home: Path) -> None:
    (home / "postgres.new-1" / "base").mkdir(parents=True)
    (home / "postgres" / "base").mkdir(parents=True)
    embedded_url(home)
    assert not (home / "postgres.new-1").exists()
    assert list(home.glob("postgres.broken-*"))


def test_data_without_its_version_is_kept_and_reported(home: Path) -> None:
    remember(home)
    stop_embedded(home)
    version = home / "postgres" / "PG_VERSION"
    kept = version.read_text()
    version.unlink()
    with pytest.raises(StorageError, match="damaged"):
        embedded_url(home)
    version.write_text("17")
    with pytest.raises(StorageError, match="made by PostgreSQL 17"):
        embedded_url(home)
    version.write_text(kept)
    version.chmod(0o644)
    assert recalls(home)


def test_a_server_that_does_not_start_shows_its_log(home: Path) -> None:
    embedded_url(home)
    stop_embedded(home)
    with (home / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    with pytest.raises(StorageError, match="no_such_setting") as caught:
        embedded_url(home)
    assert "postgres.log" in caught.value.next


def test_a_long_path_works(tmp_path: Path) -> None:
    home = tmp_path / ("long " * 12) / ("ünï'\",$(cöde)-" * 5)
    url = embedded_url(home)
    assert "/tmp/hpo-" in url
    assert embedded_url(home) == url
    assert Path(make_url(url).query["host"]).exists()  # type: ignore[arg-type]
    leave_embedded(home)
    assert not Path(make_url(url).query["host"]).exists()  # type: ignore[arg-type]


NAMES = (
    b"lr=0.1,bs=64",  # as hydra calls its folders
    b"new\nline",
    b"und\xff\xfeecodable",
    b"sp ace ",
    b"quo'\"te`$(x)\\",
    b"\x1b[31m\t",
    b"%41;&|*?",
    "ünï".encode(),
    b"-d",
    b"x" * 250,
)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """One database, moved from name to name: it answers under each, and is gone after each."""
    home = tmp_path / "home"
    remember(home)
    leave_embedded(home)
    for name in NAMES:
        home = home.rename(tmp_path / os.fsdecode(name))
        assert recalls(home), name
        assert Path(make_url(embedded_url(home)).query["host"]).exists()  # type: ignore[arg-type]
        leave_embedded(home)
        assert is_gone(home), name
        assert not Server(home / "postgres")._socket_dir().exists() or name == b"-d", name


def test_a_server_that_runs_and_cannot_be_reached_is_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "answers", lambda self: False)
    with pytest.raises(StorageError, match="does not start"):
        embedded_url(home)
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_a_server_that_does_not_stop_in_time_is_gone_all_the_same(tmp_path: Path) -> None:
    """It is stopped at once then, and nothing of it stays behind, not even its socket's folder."""
    home = tmp_path / ("long " * 20)
    url = embedded_url(home)
    assert Server(home / "postgres").stop(seconds=0)
    assert is_gone(home)
    assert not Path(make_url(url).query["host"]).exists()  # type: ignore[arg-type]
    leave_embedded(home)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot keep a database"):
        embedded_url(tmp_path / "file" / "home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
@pytest.mark.parametrize("size", ["0", "8m", "80m"], ids=["no file", "no initdb", "no start"])
def test_a_disk_without_room_is_called_full(tmp_path: Path, size: str) -> None:
    """Whichever step it stops: the locks, initdb, the server itself."""
    home = tmp_path / "small"
    home.mkdir()
    room = "nr_inodes=1" if size == "0" else f"size={size}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", room, "none", str(home)], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        if size == "80m":
            embedded_url(home)
            stop_embedded(home)
            with suppress(OSError), (home / "filler").open("wb") as filler:
                while True:
                    filler.write(bytes(1 << 16))
                    filler.flush()
        with pytest.raises(StorageError, match="No space left on device") as caught:
            embedded_url(home)
        assert "is full" in caught.value.fact
        assert "make room" in caught.value.next
        assert not (home / "postgres" / "postmaster.pid").exists()
    finally:
        leave_embedded(home)
        subprocess.run(["umount", "-l", str(home)], check=True)


def test_a_platform_without_binaries_is_one_clear_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo.storage.embedded.account.MAJOR", 99)
    with pytest.raises(StorageError, match="no PostgreSQL comes with hpo"):
        embedded_url(home)


def test_a_folder_that_others_may_read_says_how_to_close_it(home: Path) -> None:
    """After `chmod -R 755` PostgreSQL does not start."""
    embedded_url(home)
    leave_embedded(home)
    stop_embedded(home)
    (home / "postgres").chmod(0o755)
    with pytest.raises(StorageError, match="invalid permissions") as caught:
        embedded_url(home)
    assert caught.value.next == f"chmod 700 {home / 'postgres'}"
    (home / "postgres").chmod(0o700)
    assert embedded_url(home)


def test_a_folder_in_use_by_another_host_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = client(home)
    postmaster(home).kill()
    monkeypatch.setattr("hpo.storage.embedded.server._boot_id", lambda: "another kernel")
    with pytest.raises(StorageError, match="another host"):
        embedded_url(home)
    monkeypatch.undo()
    embedded_url(home)
    finish(other)


@pytest.mark.skipif(os.geteuid() != 0, reason="switches to an account without rights, which only root can")
def test_an_ordinary_user_has_a_server_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        parent.chmod(parent.stat().st_mode | 0o005)
    home = tmp_path / "home"
    # Given up after the imports: the interpreter itself may be in a folder of root's.
    become = "import os, hpo.storage.embedded.server, pwd; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    program = CLIENT.replace("embedded_url(Path", become + "embedded_url(Path").replace("sys.stdin.readline()", "")
    done = subprocess.run([sys.executable, "-c", program, str(home)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("up\n", "")
    assert (home / "postgres").stat().st_uid == 65534
    assert is_gone(home)


def test_a_second_ctrl_c_while_the_server_stops_is_no_traceback(tmp_path: Path) -> None:
    """It has nothing to hurry: the server stops in order, and nothing is printed."""
    program = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from hpo.storage.embedded.embedded import embedded_url\n"
        "from hpo.storage.embedded.server import Server\n"
        "stop = Server.stop\n"
        "def interrupted(self, seconds):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0.2)\n"
        "    return stop(self, seconds=seconds)\n"
        "Server.stop = interrupted\n"
        "embedded_url(Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert is_gone(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_while_its_server_starts_leaves_none(tmp_path: Path, number: int) -> None:
    """A signal before the search is an ordinary exit: 128 and its number, and the server that was made is stopped."""
    program = (
        "import sys, time\n"
        "from hpo.cli.main import main\n"
        "from hpo.storage.embedded.account import ServerUser\n"
        "run = ServerUser.run\n"
        "def slow(self, folder, *words):\n"
        "    done = run(self, folder, *words)\n"
        "    if words[-1] == 'start':\n"
        "        print('started', flush=True)\n"
        "        time.sleep(300)\n"
        "    return done\n"
        "ServerUser.run = slow\n"
        "sys.argv = ['hpo', 'db', 'init']\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "HPO_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    assert not is_gone(tmp_path)
    process.send_signal(number)
    assert process.wait(120) == 128 + number
    assert is_gone(tmp_path)


def test_leaving_does_not_wait_for_a_start_that_takes_minutes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another thread, of a server that recovers. Nobody could cut it short: Ctrl-C is ignored by then."""
    embedded_url(home)
    monkeypatch.setattr(embedded, "_LEAVE_SECONDS", 0.2)
    starting, over = threading.Event(), threading.Event()

    def start() -> None:
        with embedded._thread_lock:
            starting.set()
            over.wait(30)

    thread = threading.Thread(target=start)
    thread.start()
    starting.wait()
    began = time.monotonic()
    leave_embedded(home)
    assert time.monotonic() - began < 10
    assert thread.is_alive()
    over.set()
    thread.join()


def test_another_process_waits_for_as_long_as_a_start_may_take() -> None:
    assert embedded._LOCK_SECONDS > START_SECONDS
