"""The images that a job trains on and is scored on, kept on the device from one job to the next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hpo.data.files import Folders, RawImages, Split
from hpo.data.folder_images import test_files
from hpo.data.image_set import ImageSet
from hpo.data.load import check_variety, identity, load, loader_options
from hpo.data.overlap import overlap
from hpo.data.samples import Samples, named
from hpo.data.splits import channel_statistics, folds, folds_apart, split, split_apart, subset
from hpo.data.streamed_set import StreamedSet, load_streamed
from hpo.data.targets import as_trained, strata
from hpo.data.tensor_set import TensorSet, statistics
from hpo.errors import DataError, StudyError
from hpo.messages import Job
from hpo.training.own_task import check_targets
from hpo.training.tasks import task_of

__all__ = ["DataCache", "TrainValSplit"]


LOADED_AT_MOST = 32


@dataclass(frozen=True)
class TrainValSplit:
    """One data set on the device, and which of its images are for what: indices int64 [n], on the device too.

    checksum: SHA-256 of the whole train split, or what StreamedSet says of one that is too large to be read for it.
    """

    images: ImageSet | TensorSet | StreamedSet
    train: Tensor
    validation: Tensor
    checksum: str

    def some_targets(self, index: Tensor) -> Tensor:
        """Those of the samples at `index`, on the device; torch Datasets load them."""
        if isinstance(self.images, StreamedSet):
            return self.images.batch(index)[1]
        return as_trained(self.images.labels[index])

    def some_validation(self, most: int) -> Tensor:
        """Indices of up to `most` samples from all over the validation part, of every class if that many fit."""
        count = len(self.validation)
        spread = torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).round().long()
        labels = self.images.labels[self.validation].cpu()
        places = (
            torch.cat([_one_of_each(labels), spread]) if labels.ndim == 1 and not labels.is_floating_point() else spread
        )
        kept = torch.tensor(list(dict.fromkeys(places.tolist()))[:most], dtype=torch.int64)
        return self.validation[kept.sort().values.to(self.validation.device)]


def _one_of_each(labels: Tensor) -> Tensor:
    """The first place int64 of each value in `labels` [N]."""
    values, which = labels.unique(return_inverse=True)
    places = torch.full((len(values),), len(labels))
    return places.scatter_reduce_(0, which, torch.arange(len(labels)), "amin")


class DataCache:
    """Splits and parts, by the settings that made them. A trainer serves one study at a time, so few are kept.

    Only `test` and `overlap` open the test split.
    """

    KEPT = 2 * 10  # the folds of two studies; they share images, an entry is two lists of indices

    def __init__(self, folders: Folders, device: torch.device) -> None:
        self._folders = folders
        self._device = device
        self._splits: dict[tuple[str, Split], RawImages | Samples | StreamedSet] = {}
        self._overlaps: dict[str, str] = {}
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
        key = (_what(job), *division)
        raw = self._split(job, "train")
        _check_labelled(job, raw)
        if key not in self._parts:
            labels = strata(raw.labels.cpu(), task_of(job))
            index = torch.arange(len(labels))
            if protocol.subset:
                index = subset(index, labels, protocol.subset, protocol.split_seed)
            train, validation = _divide(raw, index, job, fold)
            self._parts[key] = self._assemble(job, raw, index[train], index[validation])
        self._parts.move_to_end(key)
        while len(self._parts) > self.KEPT:
            self._parts.popitem(last=False)
        return self._parts[key]

    def test(self, job: Job, train: ImageSet | TensorSet | StreamedSet) -> ImageSet | TensorSet | StreamedSet:
        """The test split, normalised by the constants of the samples that the model was trained on."""
        raw = self._split(job, "test")
        if isinstance(raw, StreamedSet):
            return raw
        if isinstance(raw, Samples):
            assert isinstance(train, TensorSet)
            return train.with_constants(named(raw.inputs), raw.targets)
        assert isinstance(train, ImageSet)
        return ImageSet(raw.images, raw.labels, train.mean, train.std, self._device)

    def test_files(self, job: Job) -> list[str]:
        """Where each sample of the test split comes from, by its path below an ImageFolder.

        [] for other data sets, and where the folder has changed: its images are then those that are kept.
        """
        if job.dataset["loader"] != "hpo.data.folder_images:load":
            return []
        try:
            return test_files(self._folders, **loader_options(job.dataset))
        except DataError:
            return []

    def overlap(self, job: Job) -> str:
        """Whether test samples are in the train split, as hpo.data.overlap says it. It opens the test split."""
        key = _what(job)
        if key not in self._overlaps:
            self._overlaps[key] = overlap(job.dataset, self._split(job, "train"), self._split(job, "test"))
        return self._overlaps[key]

    def close(self) -> None:
        """End the processes that load samples; they begin again with the next job that has any."""
        for raw in self._splits.values():
            if isinstance(raw, StreamedSet):
                raw.close()

    def _assemble(
        self, job: Job, raw: RawImages | Samples | StreamedSet, train: Tensor, validation: Tensor
    ) -> TrainValSplit:
        train, validation = train.to(self._device), validation.to(self._device)
        images: ImageSet | TensorSet | StreamedSet
        if isinstance(raw, StreamedSet):
            images = raw
        elif isinstance(raw, Samples):
            inputs, several = named(raw.inputs), isinstance(raw.inputs, dict)
            normalised = named(job.dataset["normalise"])
            constants = {name: statistics(inputs[name], train) for name, wanted in normalised.items() if wanted}
            images = TensorSet(inputs, raw.targets, constants, self._device, several=several)
        else:
            images = ImageSet(raw.images, raw.labels, *channel_statistics(raw.images, train), self._device)
        return TrainValSplit(images, train, validation, raw.checksum)

    def _split(self, job: Job, name: Split) -> RawImages | Samples | StreamedSet:
        dataset, task = job.dataset, task_of(job)
        key = (_what(job), name)
        if key not in self._splits:
            if not any(loader == key[0] for loader, _ in self._splits):
                self.close()
                self._splits.clear()
                self._parts.clear()
            raw: RawImages | Samples | StreamedSet
            if "streamed" in dataset:
                raw = load_streamed(dataset, name, self._folders, self._device, task)
            else:
                raw = self._on_device(load(dataset, name, self._folders, task))
            known = raw.labelled and task == "classification" if isinstance(raw, StreamedSet) else True
            if known and (task == "classification" or name == "train"):
                check_variety(dataset, name, raw.labels, task)
            if known and task == "classification" and raw.validation is not None and not job.protocol.folds:
                _check_both_sides(dataset, raw.labels, raw.validation)
            check_targets(job, name, _some_of(raw))
            self._splits[key] = raw
        return self._splits[key]

    def _on_device(self, raw: RawImages | Samples) -> RawImages | Samples:
        """On the device once; every set of this split shares it."""
        if isinstance(raw, RawImages):
            return replace(raw, images=raw.images.to(self._device), labels=raw.labels.to(self._device))
        one = raw.inputs
        moved = {n: t.to(self._device) for n, t in one.items()} if isinstance(one, dict) else one.to(self._device)
        return replace(raw, inputs=moved, targets=raw.targets.to(self._device))


def _what(job: Job) -> str:
    """What tells the job's samples and targets from any other."""
    return f"{task_of(job)} {identity(job.dataset)}"


def _some_of(raw: RawImages | Samples | StreamedSet) -> Tensor:
    """The targets of a split; of torch Datasets those of a few samples."""
    if isinstance(raw, StreamedSet):
        return raw.batch(torch.arange(min(LOADED_AT_MOST, len(raw))))[1]
    return raw.labels


def _check_labelled(job: Job, raw: RawImages | Samples | StreamedSet) -> None:
    if isinstance(raw, StreamedSet) and not raw.labelled and job.config.get("class_weights") == "balanced":
        raise StudyError(
            f"class_weights=balanced counts labels, and the Dataset of {job.dataset['name']} has no `targets`",
            next="give it an attribute `targets`, the class of each sample, as torchvision's Datasets have",
        )


def _check_both_sides(dataset: Mapping[str, Any], labels: Tensor, validation: Tensor) -> None:
    """Where the data set itself marks what validates (bool [N]), a class may have been forgotten on one side."""
    for part, marked in (("training part", ~validation), ("validation part", validation)):
        check_variety(dataset, "train", labels.cpu()[marked.cpu()], "classification", part=part)


def _divide(raw: RawImages | Samples | StreamedSet, index: Tensor, job: Job, fold: int) -> tuple[Tensor, Tensor]:
    """(train, validation) indices int64 into `index`, which is into `raw`."""
    given, count, seed = job.protocol.validation, job.protocol.folds, job.protocol.split_seed
    share = given if given is not None else job.dataset["validation"]
    if job.phase == "final":
        return torch.arange(len(index)), torch.empty(0, dtype=torch.int64)
    labels = strata(raw.labels.cpu(), task_of(job))[index]
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
