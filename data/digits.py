"""scikit-learn's bundled handwritten digits: images uint8 [N, 1, 8, 8]. No download, for first steps and fast tests."""

from __future__ import annotations

import hashlib
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.data.files import Folders, RawImages, Split, cached
from hpo.data.splits import split as stratified
from hpo.errors import DataError

__all__ = ["load"]

SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
"""Of all 1,797 images (0..16 as bytes), then all labels as bytes."""

TEST_SHARE = 360 / 1797  # a fifth, rounded up as scikit-learn's train_test_split would
SPLIT_SEED = 0


def load(split: Split, folders: Folders) -> RawImages:
    """The digits, 1,437 train and 360 test images, stratified once and for all; pixels 0..16 scaled to 0..255."""
    return cached("digits", split, f"1 {SHA256}", folders, lambda: _decode(split))


def _decode(split: Split) -> tuple[Tensor, Tensor]:
    pixels, targets = _bundled()
    found = hashlib.sha256(pixels.tobytes() + targets.tobytes()).hexdigest()
    if found != SHA256:
        raise DataError(
            "the digits of the installed scikit-learn are not the ones this data set was defined by",
            evidence=[f"SHA-256 {found}, expected {SHA256}"],
            next="reinstall scikit-learn",
        )
    labels = torch.from_numpy(targets.astype(np.int64))
    train, test = stratified(labels, fraction=TEST_SHARE, seed=SPLIT_SEED)
    index = {"train": train, "test": test}[split]
    scaled = np.rint(pixels.astype(np.float64) * (255 / 16)).astype(np.uint8)
    return torch.from_numpy(scaled).unsqueeze(1)[index].contiguous(), labels[index]


def _bundled() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels [N, 8, 8] and classes [N]: from scikit-learn's own file where it lies, since its import takes a second."""
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.exists():
            return _read(path)
    from sklearn.datasets import load_digits

    bundle = load_digits()
    return np.asarray(bundle.images).astype(np.uint8), np.asarray(bundle.target).astype(np.uint8)


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A row for each image: its 64 pixels, and its class. Raises DataError."""
    try:
        rows = np.loadtxt(path, np.uint8, delimiter=",")
        return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(
            "the digits of the installed scikit-learn cannot be read",
            evidence=[f"{path}: {error}"],
            next="reinstall scikit-learn",
        ) from error
