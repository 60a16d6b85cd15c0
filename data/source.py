"""Source files in torchvision's layout: found, checked against their published MD5, downloaded where missing."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpo.data.files import Folders, locked
from hpo.errors import DataError
from hpo.ownership import read_bounded

__all__ = ["SourceFile", "read_sources", "verify_sources", "version_of"]

CONNECT_SECONDS = 30.0
"""How long to wait for a silent download server; torchvision itself would wait for ever."""

MOST_BYTES = 1 << 30
"""Of a file: the largest of those that come with hpo has 47 MB, and what stands in a shared folder may be anything."""

NO_DOWNLOAD_STUDY = "mlp_digits"

UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
)
"""Errors of a folder that cannot take a file, unlike those of a network that cannot deliver it."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set: path below the data folder and MD5, of itself and (for .gz) of its content unpacked."""

    path: str
    md5: str
    unpacked_md5: str | None = None

    def variants(self) -> Iterator[tuple[str, str]]:
        """(path, MD5) in every form that is accepted."""
        yield self.path, self.md5
        if self.unpacked_md5:
            yield self.path.removesuffix(".gz"), self.unpacked_md5


def version_of(files: Sequence[SourceFile]) -> str:
    """What a decoded file was made from, for the cache."""
    return "1 " + " ".join(file.md5 for file in files)


def read_sources(
    name: str, files: Sequence[SourceFile], folders: Folders, download: Callable[[Path], None]
) -> list[bytes]:
    """The unpacked content of `files`, each verified, in order; no other file is opened.

    Looked for in folders.source, then folders.cache, then fetched by `download(folders.cache)`. Raises DataError for
    a source file with another checksum, for files found nowhere, and for a folder that cannot take a download.
    """
    missing = [file for file in files if not _present(file, folders.source)]
    if not missing:
        return [_read_from_source(file, folders) for file in files]
    with locked(folders.cache / f"{name}-download"):
        if not all(_verified(file, folders.cache) for file in missing):
            _fetch(name, missing, folders, download)
        return [
            _read_verified(file, folders.cache) if file in missing else _read_from_source(file, folders)
            for file in files
        ]


def verify_sources(files: Sequence[SourceFile], folders: Folders) -> tuple[list[str], list[str]]:
    """(altered, missing): what `read_sources` would complain about or download, as paths; nothing is downloaded."""
    altered, missing = [], []
    for file in files:
        folder = folders.source if _present(file, folders.source) else folders.cache
        assert folder is not None
        if not _present(file, folder):
            missing.append(f"{folder / file.path}")
        elif not _verified(file, folder):
            altered.append(f"{folder / file.path}")
    return altered, missing


def _present(file: SourceFile, folder: Path | None) -> bool:
    return folder is not None and any(os.path.exists(folder / path) for path, _ in file.variants())


def _verified(file: SourceFile, folder: Path) -> bool:
    try:
        _read_verified(file, folder)
    except DataError:
        return False
    return True


def _read_from_source(file: SourceFile, folders: Folders) -> bytes:
    assert folders.source is not None
    return _read_verified(file, folders.source)


def _read_verified(file: SourceFile, folder: Path) -> bytes:
    """The first variant in `folder` whose checksum is right. One read serves check and content: nothing can change
    between them."""
    evidence = []
    for path, expected in file.variants():
        try:
            content = read_bounded(folder / path, MOST_BYTES, links=True)
        except FileNotFoundError:
            continue
        except OSError as error:
            evidence.append(f"{folder / path}: {error.strerror or error}")
            continue
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found == expected:
            return gzip.decompress(content) if path.endswith(".gz") else content
        evidence.append(f"{folder / path}: MD5 {found}, expected {expected} ({len(content)} bytes)")
    raise DataError(
        f"data file {Path(file.path).name} is {'damaged or altered' if evidence else 'missing'}",
        evidence=evidence or [f"looked in {folder}"],
        next="delete it and copy or download it again (with it gone from HPO_DATA_DIR, hpo downloads it)",
    )


def _fetch(name: str, missing: Sequence[SourceFile], folders: Folders, download: Callable[[Path], None]) -> None:
    try:
        folders.cache.mkdir(parents=True, exist_ok=True)
        with _patience():
            download(folders.cache)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; torchvision raises RuntimeError
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise DataError(
                f"cannot download {name} into {folders.cache}: {error.strerror}",
                next="free some space or set HPO_HOME to a folder you can write to, or HPO_DATA_DIR to one that "
                f"has the files; the study {NO_DOWNLOAD_STUDY} needs no download",
            ) from error
        raise DataError(
            f"the files of {name} are missing and could not be downloaded",
            evidence=[
                *(f"wanted {folders.source or folders.cache}/{file.path}" for file in missing),
                f"HPO_DATA_DIR is {folders.source or 'not set'}",
                f"download: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            ],
            next="set HPO_DATA_DIR to a folder with these files (torchvision's layout), or start with the study "
            f"{NO_DOWNLOAD_STUDY}, which needs no download",
        ) from error


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
