"""A file that is always whole: written under another name, flushed to disk, then renamed."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["AtomicFile", "write_atomically"]


class AtomicFile:
    """A file that gets its name only when it is whole: `with AtomicFile(path, durable=True) as file: ...`."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        self._durable = durable

    def __enter__(self) -> AtomicFile:
        self._temporary.unlink(missing_ok=True)
        # Created here, never opened: anybody who can write to the folder could have put a link under this plain name.
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
    """Write `content` (text as UTF-8) to `path`, whole or not at all. Raises OSError where the disk refuses.

    durable: flush it to disk before this returns, so that a power cut does not lose it
    """
    with AtomicFile(path, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
