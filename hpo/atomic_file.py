"""A file that is whole whenever it is there: written beside, flushed to disk, and renamed."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["AtomicFile", "write_atomically"]


class AtomicFile:
    """A file that takes its name only once it is whole: `with AtomicFile(path, durable=True) as file: ...`."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        self._durable = durable

    def __enter__(self) -> AtomicFile:
        self._temporary.unlink(missing_ok=True)
        # Made here and now: whoever else may write in the folder could have put a link under so plain a name.
        self._file = self._temporary.open("xb")
        return self

    def write(self, payload: bytes) -> None:
        self._file.write(payload)
        self._file.flush()
        if self._durable:
            os.fsync(self._file.fileno())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._file.close()
            if kind is None:
                os.replace(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)
        if kind is None and self._durable:
            _flush_folder(self._path.parent)


def write_atomically(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Make `content` (text as UTF-8) the file `path`, whole or not at all. OSError where the disk refuses.

    durable: on the disk before this returns, so that a power cut does not lose it
    """
    with AtomicFile(path, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
