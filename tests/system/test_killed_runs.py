"""A test run that is killed leaves nothing for long: the next one ends and removes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from run_folder import end_killed_runs

ROOT = Path(__file__).resolve().parents[2]
TESTS = Path(__file__).with_name("killed_run.py")


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary folder for the inner runs, with a short path: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hpo-killed-"))
    yield folder
    for process in servers(folder):
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def run(place: Path, test: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{TESTS}::{test}"]
    environment = {**os.environ, "TMPDIR": str(place), "READY": str(place / "ready")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def runs(pid: int) -> bool:
    """A zombie, which perhaps nobody is there to bury, does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def servers(place: Path) -> list[psutil.Process]:
    """PostgreSQL's processes in a folder of `place`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith("postgres") and Path(process.cwd()).is_relative_to(place):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_next_run_ends_and_removes_what_a_killed_one_has_left(place: Path) -> None:
    killed = run(place, "test_that_is_killed")
    until = time.monotonic() + 120
    while not (place / "ready").exists():
        assert killed.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    pid, *folders = (place / "ready").read_text().split()
    assert runs(int(pid)), "nothing was left, so nothing is tested"
    assert len({process.cwd() for process in servers(place)}) == 2, "the shared server and the test's own"
    assert all(Path(folder).is_dir() for folder in folders)

    assert run(place, "test_of_the_next_run").wait(120) == 0
    assert not runs(int(pid))
    assert servers(place) == []
    assert not any(Path(folder).exists() for folder in folders)
    assert list(place.glob("hpo-*")) == []


def test_nothing_but_a_runs_own_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a link to another folder, nor one without an owner file, nor one of another user."""
    mine, left = tmp_path / "mine", tmp_path / "hpo-tests-left"
    for folder in (mine / "postgres", left, tmp_path / "hpo-tests-no-owner", tmp_path / "hpo-tests-odd" / "owner"):
        folder.mkdir(parents=True)
    for file in (mine / "owner", mine / "postgres" / "postmaster.pid", left / "owner"):
        file.touch()
    (tmp_path / "hpo-tests-link").symlink_to(mine)
    kept = ["hpo-tests-link", "hpo-tests-no-owner", "hpo-tests-odd", "mine"]
    if os.geteuid() == 0:  # nobody else can give a folder away
        (tmp_path / "hpo-tests-theirs").mkdir()
        (tmp_path / "hpo-tests-theirs" / "owner").touch()
        os.chown(tmp_path / "hpo-tests-theirs", 12345, 12345)
        kept.insert(3, "hpo-tests-theirs")
    stopped: list[Path] = []
    monkeypatch.setattr("run_folder.stop_embedded", stopped.append)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    end_killed_runs()
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    assert (mine / "owner").exists()
    assert stopped == [], "a server in a folder that is only linked to"
