"""From a row of DATASETS to its images, checked against what the row promises."""

from __future__ import annotations

import torch
from hpo.data.files import Folders, RawImages, Split
from hpo.models.build import resolve

from hpo.errors import DataError

__all__ = ["load_split"]


def load_split(
    name: str, loader: str, split: Split, folders: Folders, shape: tuple[int, int, int], classes: int
) -> RawImages:
    """The split that `loader` ("module:function") gives: uint8 [N, *shape], labels int64 [N] in 0..classes-1.

    Raises StudyError for a loader that cannot be imported, DataError for files that are missing or altered and for
    images or labels that are not what the table says.
    """
    data = resolve(loader, "data loader")(split, folders)
    if not isinstance(data, RawImages):
        raise DataError(f"data loader {loader} returned {type(data).__name__}, not hpo.data.files.RawImages")
    images, labels = data.images, data.labels
    problems = []
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != tuple(shape):
        problems.append(f"images are {images.dtype} {list(images.shape)}, expected torch.uint8 [N, {_sizes(shape)}]")
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        problems.append(f"labels are {labels.dtype} {list(labels.shape)}, expected torch.int64 [{len(images)}]")
    elif not len(labels):
        problems.append("there are no images")
    elif int(labels.min()) < 0 or int(labels.max()) >= classes:
        problems.append(f"labels run from {int(labels.min())} to {int(labels.max())}, expected 0..{classes - 1}")
    if problems:
        raise DataError(f"{split} split of {name} is not what the table of data sets says", evidence=problems)
    return data


def _sizes(shape: tuple[int, int, int]) -> str:
    return ", ".join(str(size) for size in shape)
