"""The images that a job trains on and is scored on, kept on the device from one job to the next."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hpo.data.files import Folders, RawImages, Split
from hpo.data.image_set import ImageSet
from hpo.data.load import identity, load_split, loader_options
from hpo.data.splits import channel_statistics, folds, folds_apart, split, split_apart, subset
from hpo.errors import StudyError
from hpo.messages import Job

__all__ = ["DataCache", "TrainValSplit"]


@dataclass(frozen=True)
class TrainValSplit:
    """One data set on the device, and which of its images are for what: indices int64 [n], on the device too.

    checksum: SHA-256 of the whole train split.
    """

    images: ImageSet
    train: Tensor
    validation: Tensor
    checksum: str


class DataCache:
    """Splits and parts, by the settings that made them. A trainer serves one study at a time, so few are kept.

    Only `test` opens the test split.
    """

    KEPT = 2 * 10  # the folds of two studies; they share images, an entry is two lists of indices

    def __init__(self, folders: Folders, device: torch.device) -> None:
        self._folders = folders
        self._device = device
        self._splits: dict[tuple[str, Split], RawImages] = {}
        self._parts: OrderedDict[tuple[object, ...], TrainValSplit] = OrderedDict()

    def parts(self, job: Job, fold: int = 0) -> TrainValSplit:
        """The train split as `job.protocol` divides it; in phase "final" all of it is trained on.

        Raises DataError for missing or altered files, StudyError for a division that leaves nothing.
        """
        protocol = job.protocol
        whole = job.phase == "final"
        count = None if whole else protocol.folds
        share = protocol.validation if protocol.validation is not None else job.dataset["validation"]
        division = (whole, fold, count, share, protocol.split_seed, protocol.subset)
        key = (identity(job.dataset), *division)
        if key not in self._parts:
            raw = self._split(job, "train")
            labels = raw.labels.cpu()
            index = torch.arange(len(labels))
            if protocol.subset:
                index = subset(index, labels, protocol.subset, protocol.split_seed)
            train, validation = _divide(raw, index, job, fold)
            self._parts[key] = self._assemble(raw, index[train], index[validation])
        self._parts.move_to_end(key)
        while len(self._parts) > self.KEPT:
            self._parts.popitem(last=False)
        return self._parts[key]

    def test(self, job: Job, train: ImageSet) -> ImageSet:
        """The test split, normalised by the constants of the images that the model was trained on."""
        raw = self._split(job, "test")
        return ImageSet(raw.images, raw.labels, train.mean, train.std, self._device)

    def _assemble(self, raw: RawImages, train: Tensor, validation: Tensor) -> TrainValSplit:
        mean, std = channel_statistics(raw.images, train.to(self._device))
        images = ImageSet(raw.images, raw.labels, mean, std, self._device)
        return TrainValSplit(images, train.to(self._device), validation.to(self._device), raw.checksum)

    def _split(self, job: Job, name: Split) -> RawImages:
        dataset = job.dataset
        key = (identity(dataset), name)
        if key not in self._splits:
            if not any(loader == key[0] for loader, _ in self._splits):
                self._splits.clear()
                self._parts.clear()
            channels, height, width = dataset["shape"]
            raw = load_split(
                dataset["name"],
                dataset["loader"],
                name,
                self._folders,
                (channels, height, width),
                len(dataset["classes"]),
                loader_options(dataset),
            )
            # On the device once; every ImageSet of this split shares it.
            self._splits[key] = replace(raw, images=raw.images.to(self._device), labels=raw.labels.to(self._device))
        return self._splits[key]


def _divide(raw: RawImages, index: Tensor, job: Job, fold: int) -> tuple[Tensor, Tensor]:
    """(train, validation) indices int64 into `index`, which is into `raw`."""
    given, count, seed = job.protocol.validation, job.protocol.folds, job.protocol.split_seed
    share = given if given is not None else job.dataset["validation"]
    if job.phase == "final":
        return torch.arange(len(index)), torch.empty(0, dtype=torch.int64)
    labels = raw.labels.cpu()[index]
    if raw.groups is not None and (count or raw.validation is None):
        groups = raw.groups[index]
        return folds_apart(labels, groups, count, seed)[fold] if count else split_apart(labels, groups, share, seed)
    if count:
        return folds(labels, count, seed)[fold]
    if raw.validation is not None:
        if given is not None:
            raise StudyError(
                f"validation={given:g}, and the data set says itself which samples validate",
                next="leave validation out of the study",
            )
        own = raw.validation[index]
        return torch.nonzero(~own)[:, 0], torch.nonzero(own)[:, 0]
    return split(labels, share, seed)
