"""A file that is replaced is the old one or the new one, whatever happens to the process in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.atomic_file import AtomicFile, write_atomically

ROOT = Path(__file__).resolve().parents[2]

KILLED = """
import os, signal, sys
from pathlib import Path
from hpo.atomic_file import AtomicFile

with AtomicFile(Path(sys.argv[1]), durable=True) as file:
    file.write(b"half of the new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the old one")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"the old one"


def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the old one")

    def replace() -> None:
        with AtomicFile(path, durable=True) as file:
            file.write(b"half of the new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replace()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"the old one"]


@pytest.mark.parametrize(("content", "kept"), [("näher\n", "näher\n".encode()), (b"\xff", b"\xff")])
@pytest.mark.parametrize("durable", [False, True])
def test_text_and_bytes_are_written_as_they_are(
    tmp_path: Path, content: str | bytes, kept: bytes, durable: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the old one")
    write_atomically(path, content, durable=durable)
    assert path.read_bytes() == kept
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_place_of_the_unfinished_file_is_not_followed(tmp_path: Path) -> None:
    """Its name can be guessed by whoever may write in the folder."""
    other = tmp_path / "other"
    other.write_text("kept")
    (tmp_path / f".file.{os.getpid()}").symlink_to(other)
    write_atomically(tmp_path / "file", "new")
    assert ((tmp_path / "file").read_text(), other.read_text()) == ("new", "kept")
