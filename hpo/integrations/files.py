"""A checkpoint that a framework writes itself, as a part of hpo's: hpo's names it and has its digest."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpo.errors import UsageError
from hpo.own_training.run import Run

__all__ = ["FrameworkFiles", "check_one_device"]


def check_one_device(run: Run) -> None:
    """Raise UsageError where several processes train: each would have its framework start others."""
    if run.world_size > 1:
        raise UsageError(
            f"HpoCallback trains on one device, and this trial has {run.world_size}",
            next="leave devices_per_trial out, or write the loop with run.wrap and run.epochs (docs/own-training.md)",
        )


class FrameworkFiles:
    """The files, or folders of files, NAME-NUMBER, that a framework writes into `folder`. To be given to run.resume.

    newest: the one that the training goes on from, or that was written last; None if there is none
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.newest: Path | None = None

    def write(self) -> None:
        """Have the framework write one, unless it has, and say so by `written`. OSError if the disk refuses."""

    def written(self, path: Path, *, keep_others: bool = False) -> None:
        """`path`, in the folder, holds the state now. Of the others only the one before is kept, which hpo's own
        checkpoint before the newest names; all, with keep_others."""
        before, self.newest = self.newest, path
        for other in self.folder.glob(f"{path.name.rpartition('-')[0]}-*"):
            if keep_others or other in (path, before) or other.is_symlink():
                continue
            if other.is_dir():
                shutil.rmtree(other, ignore_errors=True)
            else:
                other.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """The name and digest of the one that holds the state now. OSError where it cannot be written or read."""
        self.write()
        if self.newest is None:
            return {"name": None}
        return {"name": self.newest.name, "digest": _digest(self.newest)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """ValueError or OSError unless the file is there, and is what it was when its digest was taken."""
        if state["name"] is None:
            return
        path = self.folder / Path(state["name"]).name
        if path.is_symlink() or not path.exists():
            raise ValueError(f"{path.name} is gone")
        if _digest(path) != state["digest"]:
            raise ValueError(f"{path.name} is torn, or was altered")
        self.newest = path


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of every file in a folder with its name. They are on the disk when this returns.

    OSError where one of them is a link, or no plain file.
    """
    total = hashlib.sha256()
    for file in _files(path):
        total.update(file.relative_to(path.parent).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
            os.fsync(stream.fileno())
    return total.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise OSError(errno.EINVAL, f"{file.name} is a link or no plain file", str(file))
        if file.is_file():
            yield file
