"""From a row of DATASETS to its images, checked against what the row promises."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from hpo.data.files import Folders, RawImages, Split
from hpo.data.samples import Samples, checked_samples
from hpo.data.targets import constant_targets, targets_for, wrong_targets
from hpo.errors import DataError, StudyError
from hpo.models.build import resolve
from hpo.user_code import definition_of

__all__ = ["check_variety", "identity", "load", "load_split", "loader_options"]


def identity(dataset: Mapping[str, Any]) -> str:
    """What tells a job's data set from any other, on any host: its loader and what decides the loader's result."""
    return json.dumps([dataset["loader"], dataset.get("options")], sort_keys=True)


def loader_options(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that the loader of a job's data set takes after split and folders (Dataset.for_trainer)."""
    return {**dataset.get("options", {}), **dataset.get("place", {})}


def load(
    dataset: Mapping[str, Any], split: Split, folders: Folders, task: str = "classification"
) -> RawImages | Samples:
    """A split of a job's data set (Dataset.for_trainer), checked against what the study says of it.

    task: what its targets are, a key of hpo.study.tasks.TASKS or another name; they come as training takes them
    Raises StudyError and DataError as `load_split` does.
    """
    name, loader, classes = str(dataset["name"]), str(dataset["loader"]), len(dataset["classes"])
    if "dtype" in dataset:
        function, data = _called(loader, split, folders, loader_options(dataset))
        return checked_samples(data, function, f"{split} split of {name}", dataset, classes, task)
    channels, height, width = dataset["shape"]
    options, declared = loader_options(dataset), dataset.get("targets")
    return load_split(name, loader, split, folders, (channels, height, width), classes, options, task, declared)


def check_variety(
    dataset: Mapping[str, Any], split: Split, targets: torch.Tensor, task: str, *, part: str = ""
) -> None:
    """Raise DataError where nothing can be learned of a class, a label or a value from the `targets` of a whole split.

    targets: as `load` gives them
    part:    what of the split they are; "": all of it
    """
    if problems := constant_targets(targets, task, dataset["classes"]):
        raise DataError(
            f"the {part or f'{split} split'} of {dataset['name']} has {problems[0]}",
            evidence=[*problems[1:5], definition_of(_loader(dataset))],
            next="take these names out of the classes, or give the split samples that differ in them",
        )


def load_split(
    name: str,
    loader: str,
    split: Split,
    folders: Folders,
    shape: tuple[int, int, int],
    classes: int,
    options: Mapping[str, Any] | None = None,
    task: str = "classification",
    declared: Mapping[str, Any] | None = None,
) -> RawImages:
    """The split that `loader` ("module:function") gives: uint8 [N, *shape], and targets as the task wants them.

    options: more arguments for a loader of hpo's own; task: as of `load`; declared: as of wrong_targets
    Raises StudyError for a loader that cannot be imported or called, DataError for files that are missing or altered
    and for images or labels that are not what the table says.
    """
    function, data = _called(loader, split, folders, options or {})
    kinds = _wrong_types(data)
    if kinds:
        raise DataError(
            f"data loader {loader} returned {kinds}",
            evidence=[definition_of(function)],
            next="return hpo.data.RawImages(images, labels, checksum(images, labels)) of torch tensors",
        )
    assert isinstance(data, RawImages)
    images, labels = data.images, data.labels
    problems = []
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != tuple(shape):
        problems.append(f"images are {images.dtype} {list(images.shape)}, expected torch.uint8 [N, {_sizes(shape)}]")
    count = len(images) if images.ndim else 0
    problems += wrong_targets(labels, task, classes, count, "labels", shape[1:], declared)
    if problems:
        raise DataError(
            f"{split} split of {name} is not what the table of data sets says",
            evidence=[*problems, definition_of(function)],
            next="mend the loader, or the declaration: shape= and classes= of the data set",
        )
    return replace(data, labels=targets_for(labels, task, classes))


def _loader(dataset: Mapping[str, Any]) -> Callable[..., Any]:
    return resolve(str(dataset["loader"]), "data loader")


def _called(
    loader: str, split: Split, folders: Folders, options: Mapping[str, Any]
) -> tuple[Callable[..., Any], object]:
    """(the function that `loader` names, what it returned)."""
    function = resolve(loader, "data loader")
    try:
        inspect.signature(function).bind(split, folders, **options)
    except TypeError as error:
        raise StudyError(
            f"data loader {loader} cannot be called as load(split, folders): {error}",
            evidence=[definition_of(function)],
            next='let it take a split, "train" or "test", and the folders to read and to cache in',
        ) from error
    return function, function(split, folders, **options)


def _wrong_types(data: object) -> str:
    """What is not of the type that a loader has to return, as `RawImages whose images are list, not torch.Tensor`."""
    if not isinstance(data, RawImages):
        return f"{type(data).__name__}, not hpo.data.RawImages"
    wanted = {"images": torch.Tensor, "labels": torch.Tensor, "checksum": str}
    given = {name: getattr(data, name) for name in wanted}
    wrong = [
        f"{name} {'is' if name == 'checksum' else 'are'} {_kind(given[name])}, not {_kind(kind)}"
        for name, kind in wanted.items()
        if not isinstance(given[name], kind)
    ]
    return f"RawImages whose {' and whose '.join(wrong)}" if wrong else ""


def _kind(of: object) -> str:
    kind = of if isinstance(of, type) else type(of)
    return "torch.Tensor" if kind is torch.Tensor else kind.__name__


def _sizes(shape: tuple[int, int, int]) -> str:
    return ", ".join(str(size) for size in shape)
