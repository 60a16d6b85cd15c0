"""The images of an ImageFolder: decoded once, on all cores, and kept by their content."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.data.files import Folders, RawImages, Split, cached, checksum
from hpo.data.folder_index import ImageFile, Listing, digest_of, index, list_folder
from hpo.data.pixels import Shape, decode_share, prepare
from hpo.data.splits import split_apart
from hpo.errors import DataError
from hpo.wording import bytes_text

__all__ = ["load", "test_files"]

SOON = 0.1
"""Seconds of decoding that are done here: processes of their own would not be done much sooner."""

SECONDS_PER_FILE, SECONDS_PER_BYTE = 1e-4, 2.5e-8
"""What decoding takes, about: 32 x 32 PNG, and photographs of 500 x 375."""

SHOWN = 5


def load(
    split: Split,
    folders: Folders,
    *,
    shape: Sequence[int],
    digest: str,
    test: float,
    path: str,
    where: str = "",
) -> RawImages:
    """The images of `split`, uint8 [N, *shape] and their classes; `validation` marks those of a val folder.

    digest: of all images, as it was when the study started
    Raises DataError for files that are no images, each by name, and where the folder has changed since.
    """
    channels, height, width = shape
    key = f"{digest}-{channels}x{height}x{width}-{test:g}"

    def decode() -> RawImages:
        listing, files = _listed(folders, path, digest, where)
        train, tested = _divided(files, test)
        # With the train images the test images, too: a broken file among these would only be found after the search.
        mine, tested = (train, tested) if split == "train" else (tested, [])
        names = [f"{listing.root}{os.sep}{file.path}" for file in (*mine, *tested)]
        pixels = _decoded(names, (channels, height, width), where)
        number = {name: label for label, name in enumerate(listing.classes)}
        if tested:
            cached(name, "test", version, folders, lambda: _images(tested, pixels[len(mine) :], number))
        return _images(mine, pixels[: len(mine)], number)

    name, version = f"images-{key}", f"2 {key}"
    return cached(name, split, version, folders, decode)


def test_files(folders: Folders, *, shape: Sequence[int], digest: str, test: float, path: str, where: str) -> list[str]:
    """The path below the folder of each image of the test split, in the order in which `load` gives them.

    The arguments are those of `load`. Raises DataError where the folder has changed since.
    """
    _, files = _listed(folders, path, digest, where)
    return [file.path for file in _divided(files, test)[1]]


def _listed(folders: Folders, path: str, digest: str, where: str) -> tuple[Listing, list[ImageFile]]:
    listing = list_folder(Path(path), where)
    files = index(listing, folders.cache)
    if digest_of(files) != digest:
        raise DataError(
            f"the images in {path} have changed since the study was started",
            evidence=[where],
            next="start the study again; it says what changed",
        )
    return listing, files


def _images(files: Sequence[ImageFile], pixels: Tensor, number: Mapping[str, int]) -> RawImages:
    labels = torch.tensor([number[file.label] for file in files], dtype=torch.int64)
    own = torch.tensor([file.split == "validation" for file in files])
    return RawImages(pixels, labels, checksum(pixels, labels), validation=own if own.any() else None)


def _divided(files: Sequence[ImageFile], test: float) -> tuple[list[ImageFile], list[ImageFile]]:
    """(train, test) in their order; without a test folder, the second is a share that is the same every time."""
    tested = {file.path for file in files if file.split == "test"} or _share(files, test)
    train = [file for file in files if file.path not in tested]
    return train, [file for file in files if file.path in tested]


def _share(files: Sequence[ImageFile], test: float) -> set[str]:
    shared = [file for file in files if file.split != "validation"]
    names = {name: number for number, name in enumerate(sorted({file.label for file in shared}))}
    contents: dict[str, int] = {}
    labels = torch.tensor([names[file.label] for file in shared])
    groups = torch.tensor([contents.setdefault(file.content, len(contents)) for file in shared])
    _, held_out = split_apart(labels, groups, test, seed=0)
    return {shared[at].path for at in held_out.tolist()}


def _decoded(names: Sequence[str], shape: Shape, where: str) -> Tensor:
    size = len(names) * int(np.prod(shape))
    free = psutil.virtual_memory().available
    if size > free:
        raise DataError(
            f"{len(names):,} images of {list(shape)} take {bytes_text(size)}, and {bytes_text(free)} of memory is free",
            evidence=[where],
            next="give a smaller size",
        )
    out = _shared((len(names), *shape))
    seconds = len(names) * SECONDS_PER_FILE + sum(map(os.path.getsize, names)) * SECONDS_PER_BYTE
    broken = decode_share(names, shape, out) if seconds < SOON else _by_processes(names, shape, out)
    if broken:
        raise DataError(
            f"{len(broken)} of {len(names):,} files {'are' if len(broken) > 1 else 'is'} no image that can be read",
            evidence=[
                *(f"{path}: {reason}" for path, reason in broken[:SHOWN]),
                *([f"and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []),
                where,
            ],
            next="mend them or take them out: PNG, JPEG and others with 8 bits per channel",
        )
    return torch.from_numpy(out)


def _shared(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Zeros in memory that this process shares with those that it starts."""
    size = int(np.prod(shape))
    return np.frombuffer(mmap.mmap(-1, max(1, size)), np.uint8, size).reshape(shape)


def _by_processes(names: Sequence[str], shape: Shape, out: NDArray[np.uint8]) -> list[tuple[str, str]]:
    """As `decode_share` into memory that processes share, by one on each core, of which this is the first."""
    cuts = [len(names) * at // _cores() for at in range(_cores() + 1)]
    shares = [slice(a, b) for a, b in pairwise(cuts)]
    prepare()
    children = [_child(names[share], shape, out[share]) for share in shares[1:]]
    said = [decode_share(names[shares[0]], shape, out[shares[0]])]
    for share, (child, answers) in zip(shares[1:], children, strict=True):
        try:
            said.append(answers.recv())
        except EOFError:  # killed, or no memory: it is no fault of an image
            said.append(decode_share(names[share], shape, out[share]))
        child.join()
    return [one for share in said for one in share]


def _child(paths: Sequence[str], shape: Shape, out: NDArray[np.uint8]) -> tuple[BaseProcess, Connection]:
    """A copy of this process that decodes, and tells what is broken: a fresh one would import numpy for longer."""
    context = multiprocessing.get_context("fork")
    answers, answer = context.Pipe(duplex=False)
    child = context.Process(target=_decode_and_tell, args=(paths, shape, out, answer), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads; the copy uses none of theirs
        child.start()
    answer.close()
    return child, answers


def _decode_and_tell(paths: Sequence[str], shape: Shape, out: NDArray[np.uint8], answer: Connection) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with its parent
    answer.send(decode_share(paths, shape, out))


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 64)
