"""scikit-learn's bundled breast cancer measurements: 30 numbers of each of 569 tumours. No download."""

from __future__ import annotations

import numpy as np
import torch

from hpo.data.files import Folders, Split
from hpo.data.samples import Samples
from hpo.data.splits import split as stratified

__all__ = ["load"]


def load(split: Split, folders: Folders) -> Samples:
    """455 train and 114 test samples, float32 [N, 30], stratified once and for all; 0 is malignant, 1 benign."""
    from sklearn.datasets import load_breast_cancer

    bundle = load_breast_cancer()
    labels = torch.from_numpy(np.asarray(bundle.target).astype(np.int64))
    index = stratified(labels, fraction=0.2, seed=0)[split == "test"]
    return Samples(torch.from_numpy(np.asarray(bundle.data).astype(np.float32))[index], labels[index])
