"""scikit-learn's bundled handwritten digits: images uint8 [N, 1, 8, 8]. No download, for first steps and fast tests."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
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
    from sklearn.datasets import load_digits

    bundle = load_digits()
    pixels = np.asarray(bundle.images).astype(np.uint8)
    targets = np.asarray(bundle.target)
    found = hashlib.sha256(pixels.tobytes() + targets.astype(np.uint8).tobytes()).hexdigest()
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
