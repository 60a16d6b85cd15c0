"""The embedded server's log is made small by one process at a time, and through no link."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from hpo.storage.embedded import server_log
from hpo.storage.embedded.server_log import rotate


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(server_log, "MOST_BYTES", 100)
    path = tmp_path / "postgres.log"
    path.write_text("x" * 150)
    return path


def test_a_log_that_another_process_is_rotating_is_left_to_it(log: Path) -> None:
    """Both would copy and cut, and the second one's copy, of what came since, would replace the first."""
    with log.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not rotate(log)
        assert log.stat().st_size == 150
    assert rotate(log)
    assert log.stat().st_size == 0
    assert (log.parent / "postgres.log.1").read_text() == "x" * 100


@pytest.mark.parametrize("planted", [os.symlink, os.link])
def test_a_link_in_its_place_is_left_alone(log: Path, planted: object) -> None:
    victim = log.with_name("victim")
    log.rename(victim)
    assert callable(planted)
    planted(victim, log)
    assert not rotate(log)
    assert victim.read_text() == "x" * 150
