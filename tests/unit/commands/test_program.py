"""The processes below a trainer, as the kernel lists them, and the folder that a program is given. None is started."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from hpo.commands import descendants
from hpo.commands.run import _own_folder

PROCESSES = {  # what /proc/PID/stat says: name, state, parent; a name may hold anything
    1: b"1 (init) S 0 1",
    10: b"10 (hpo) S 1 1",
    11: b"11 (train) (x) R 1) S 10 1",
    12: b"12 (\xff\xfe ) Z 1 () R 11 1",
    13: b"13 (over) Z 10 1",
    14: b"14 (going) X 10 1",
    15: b"15 (other's) S 1 1",
    16: b"",
    17: b"17 (grandchild) D 12 1",
}


def test_every_process_below_is_found_and_none_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it calls itself; not one that is over, which nothing can kill."""

    def opened(path: str, mode: str) -> io.BytesIO:
        number = int(path.split("/")[2])
        if number not in PROCESSES:
            raise FileNotFoundError(path)  # it has ended since the folder was listed
        return io.BytesIO(PROCESSES[number])

    monkeypatch.setattr(descendants.os, "listdir", lambda path: ["self", "99", *map(str, PROCESSES)])
    monkeypatch.setattr(descendants.os, "getpid", lambda: 10)
    monkeypatch.setattr(descendants, "open", opened, raising=False)
    assert descendants.descendants() == [11, 12, 17]


def test_a_process_that_does_not_go_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []

    def kill(pid: int, number: int) -> None:
        killed.append(pid)
        raise PermissionError if pid == 11 else ProcessLookupError

    monkeypatch.setattr(descendants, "descendants", lambda: [11, 12])
    monkeypatch.setattr(descendants.os, "kill", kill)
    assert descendants.end_descendants(0.02) is False
    assert {11, 12} == set(killed)
    monkeypatch.setattr(descendants, "descendants", list)
    assert descendants.end_descendants(0.02) is True


def test_the_folder_of_a_trial_is_made_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "study-uid" / "3"
    assert _own_folder(folder) == folder
    assert folder.is_dir()
    (tmp_path / "study-uid" / "4").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    for linked in (tmp_path / "study-uid" / "4", tmp_path / "linked" / "5"):
        with pytest.raises(OSError, match="leads elsewhere by a link"):
            _own_folder(linked)
    assert list((tmp_path / "elsewhere").iterdir()) == []
