"""The images of an ImageFolder: decoded once, on all cores, and kept by their content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

import hpo.data.pixels
from hpo.data.files import Folders, RawImages, Split, cached, checksum
from hpo.data.folder_index import ImageFile, digest_of, index, list_folder
from hpo.data.pixels import Shape, decode_share
from hpo.data.splits import split_apart
from hpo.errors import DataError
from hpo.wording import bytes_text

__all__ = ["load"]

SOON = 0.5
"""Seconds of decoding that are done here: processes of their own would not be done much sooner."""

SECONDS_PER_FILE, SECONDS_PER_BYTE = 1.2e-4, 1.5e-8
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
        listing = list_folder(Path(path), where)
        files = index(listing, folders.cache)
        if digest_of(files) != digest:
            raise DataError(
                f"the images in {path} have changed since the study was started",
                evidence=[where],
                next="start the study again; it says what changed",
            )
        mine = _of_split(files, split, test)
        # With the train images the test images, too: a broken file among these would only be found after the search.
        tested = _of_split(files, "test", test) if split == "train" else []
        names = [f"{listing.root}{os.sep}{file.path}" for file in (*mine, *tested)]
        pixels = _decoded(names, (channels, height, width), folders.cache, where)
        number = {name: label for label, name in enumerate(listing.classes)}
        if tested:
            cached(name, "test", version, folders, lambda: _images(tested, pixels[len(mine) :], number))
        return _images(mine, pixels[: len(mine)], number)

    name, version = f"images-{key}", f"1 {key}"
    return cached(name, split, version, folders, decode)


def _images(files: Sequence[ImageFile], pixels: Tensor, number: Mapping[str, int]) -> RawImages:
    labels = torch.tensor([number[file.label] for file in files], dtype=torch.int64)
    own = torch.tensor([file.split == "validation" for file in files])
    return RawImages(pixels, labels, checksum(pixels, labels), validation=own if own.any() else None)


def _of_split(files: Sequence[ImageFile], split: Split, test: float) -> list[ImageFile]:
    """The files of `split` in their order; without a test folder, those of a share that is the same every time."""
    if any(file.split == "test" for file in files):
        return [file for file in files if (file.split == "test") == (split == "test")]
    shared = [file for file in files if file.split != "validation"]
    names = sorted({file.label for file in shared})
    contents: dict[str, int] = {}
    labels = torch.tensor([names.index(file.label) for file in shared])
    groups = torch.tensor([contents.setdefault(file.content, len(contents)) for file in shared])
    _, held_out = split_apart(labels, groups, test, seed=0)
    tested = {shared[at].path for at in held_out.tolist()}
    return [file for file in files if (file.path in tested) == (split == "test")]


def _decoded(names: Sequence[str], shape: Shape, cache: Path, where: str) -> Tensor:
    size = len(names) * int(np.prod(shape))
    free = psutil.virtual_memory().available
    if size > free:
        raise DataError(
            f"{len(names):,} images of {list(shape)} take {bytes_text(size)}, and {bytes_text(free)} of memory is free",
            evidence=[where],
            next="give a smaller size",
        )
    out = np.empty((len(names), *shape), np.uint8)
    seconds = len(names) * SECONDS_PER_FILE + sum(map(os.path.getsize, names)) * SECONDS_PER_BYTE
    broken = decode_share(names, shape, out) if seconds < SOON else _by_processes(names, shape, out, cache)
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


def _by_processes(names: Sequence[str], shape: Shape, out: NDArray[np.uint8], cache: Path) -> list[tuple[str, str]]:
    """As `decode_share`, by a process on each core, which write into one file. Each takes every n-th block of files."""
    cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 64)
    cuts = [len(names) * at // cores for at in range(cores + 1)]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        holder = tempfile.NamedTemporaryFile(dir=cache, prefix=".decoding-")  # noqa: SIM115 - the next line closes it
    except OSError:
        return decode_share(names, shape, out)
    with holder as file:
        os.truncate(file.fileno(), out.nbytes)
        children = [_child(names[a:b], shape, a, len(names), file.name) for a, b in pairwise(cuts)]
        said = [child.communicate()[0] for child in children]
        if any(child.returncode for child in children):  # killed, or no memory: it is no fault of an image
            return decode_share(names, shape, out)
        out[:] = np.memmap(file.name, np.uint8, "r", shape=out.shape)
    return [(path, reason) for text in said for path, reason in json.loads(text)]


def _child(paths: Sequence[str], shape: Shape, start: int, total: int, file: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-P", str(hpo.data.pixels.__file__)],  # as a file: hpo is imported more slowly than numpy
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    json.dump({"paths": paths, "shape": shape, "start": start, "total": total, "file": file}, child.stdin)
    child.stdin.close()
    child.stdin = None  # communicate would write to it
    return child
