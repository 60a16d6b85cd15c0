"""Decode a data set once, keep it as one checked file per split, load that in milliseconds afterwards.

Nothing here imports torchvision or scikit-learn: a cached data set needs neither.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["Folders", "RawImages", "Split", "cached", "checksum", "locked"]

Split = Literal["train", "test"]

log = logging.getLogger("hpo.data")


@dataclass(frozen=True)
class Folders:
    """Where data sets come from and where they are kept.

    source: a folder in torchvision's layout, read only, or None (Settings.data_dir)
    cache:  a folder of ours for downloads and decoded files; created when needed
    """

    source: Path | None
    cache: Path


@dataclass(frozen=True)
class RawImages:
    """One split: images uint8 [N, C, H, W], labels int64 [N] or the targets of another task, and the SHA-256 of both.

    groups:     int64 [N] or None: images of one number, such as those of one patient, stay on one side of every split
    validation: bool [N] or None: which images of the train split validate; None leaves that to the study
    """

    images: Tensor
    labels: Tensor
    checksum: str
    groups: Tensor | None = None
    validation: Tensor | None = None


def cached(
    name: str, split: Split, version: str, folders: Folders, decode: Callable[[], tuple[Tensor, Tensor] | RawImages]
) -> RawImages:
    """The split from the cache, or from `decode` and then into the cache.

    decode:  gives (images, labels), or a RawImages
    version: of what is decoded, for example the sources' checksums. A file of another version is decoded again, and so
             is one that is torn or altered.
    A cache that cannot be written costs speed, not the study: the split is then decoded in memory.
    """
    path = folders.cache / f"{name}-{split}.safetensors"
    found = _read(path, version)
    if found is not None:
        return found
    with locked(path):
        found = _read(path, version)  # another process may have made it meanwhile
        if found is not None:
            return found
        decoded = decode()
        made = decoded if isinstance(decoded, RawImages) else RawImages(*decoded, checksum(*decoded))
        _write(path, made, version)
    return made


def checksum(images: Tensor, labels: Tensor) -> str:
    """SHA-256 over the shape and bytes of images [N, C, H, W] and labels [N, ...]."""
    digest = hashlib.sha256(f"{list(images.shape)} {images.dtype} {labels.dtype}".encode())
    digest.update(images.contiguous().numpy().data)
    digest.update(labels.contiguous().numpy().data)
    return digest.hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path`.lock among the processes of all users of this folder; without effect if no lock can be made."""
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):  # a read-only folder, or a file system without locks
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _read(path: Path, version: str) -> RawImages | None:
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("version") != version:
                return None
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            more = {name: file.get_tensor(name) for name in ("groups", "validation") if name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        log.warning("%s is damaged and is made anew (%s)", path, error)
        return None
    if checksum(images, labels) != facts.get("checksum"):
        log.warning("%s does not match its checksum and is made anew", path)
        return None
    return RawImages(images, labels, facts["checksum"], **more)


def _write(path: Path, data: RawImages, version: str) -> None:
    """Write beside `path` and rename, so that no reader ever sees half a file."""
    facts = {"version": version, "checksum": data.checksum}
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
        os.close(handle)
        more = {name: value for name in ("groups", "validation") if (value := getattr(data, name)) is not None}
        tensors = {"images": data.images.contiguous(), "labels": data.labels.contiguous(), **more}
        save_file(tensors, temporary, facts)
        _flush(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        log.warning("%s cannot be kept (%s); every process will decode it again", path, error)
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _flush(name: str) -> None:
    os.chmod(name, 0o644)  # mkstemp makes it private; other users of a shared cache may read it
    handle = os.open(name, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
