"""The data sets: one literal table. This module imports without torch; the loaders it names do not.

To add one, write `load(split, folders) -> RawImages` in a file of its own and add a row. What a loader needs is here
too, and imported on demand: Folders, RawImages, and `cached`, which makes a RawImages once and keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpo.data.dataset import Dataset, Tensor
from hpo.data.image_folder import ImageFolder
from hpo.data.table import CSV
from hpo.data.torch_data import Torch

if TYPE_CHECKING:
    from hpo.data.files import Folders, RawImages, cached, checksum
    from hpo.data.samples import Samples

__all__ = [
    "CSV",
    "DATASETS",
    "Dataset",
    "Folders",
    "ImageFolder",
    "RawImages",
    "Samples",
    "Tensor",
    "Torch",
    "cached",
    "checksum",
]

if __name__ != "hpo.data":
    raise ImportError("hpo's own data package is imported as hpo.data", name=__name__)


_DIGITS = tuple("0123456789")

DATASETS: dict[str, Dataset] = {
    "mnist": Dataset("hpo.data.mnist:load_mnist", (1, 28, 28), _DIGITS, help="handwritten digits, 60,000 + 10,000"),
    "digits": Dataset(
        "hpo.data.digits:load", (1, 8, 8), _DIGITS, download=False, help="scikit-learn's bundled digits, 1,437 + 360"
    ),
    "fashion_mnist": Dataset(
        "hpo.data.mnist:load_fashion_mnist",
        (1, 28, 28),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        help="clothing, 60,000 + 10,000",
    ),
    "cifar10": Dataset(
        "hpo.data.cifar:load",
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        validation=0.1,
        help="small colour photographs, 50,000 + 10,000",
    ),
}


def __getattr__(name: str) -> Any:
    if name == "Samples":
        from hpo.data.samples import Samples

        return Samples
    if name in ("Folders", "RawImages", "cached", "checksum"):
        from hpo.data import files

        return getattr(files, name)
    raise AttributeError(f"module 'hpo.data' has no attribute {name!r}")
