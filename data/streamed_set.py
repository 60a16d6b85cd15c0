"""The Datasets that a study's Torch(...) names: looked at before the first trial, then given to it batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, IterableDataset, Subset, default_collate

from hpo.data.files import Folders, Split
from hpo.data.sample_workers import BatchRequest, SampleWorkers, Source, moved
from hpo.data.samples import named, named_specs
from hpo.data.targets import as_trained, targets_for, wrong_targets
from hpo.errors import DataError, StudyError
from hpo.models.build import resolve
from hpo.user_code import definition_of, line_of

__all__ = ["ReadAhead", "StreamedSet", "load_streamed"]

LOOKED_AT = 8
"""So many samples, spread over a split, are loaded before the first trial, and tell one split from another."""


class StreamedSet:
    """A split whose samples are loaded when they are needed, as batches on `device`. It has ImageSet's interface.

    source:     the samples, which have the same numbers for training and for scoring; plain: those for scoring
    labels:     int64 [N] on the device, from the Dataset's `targets`; zeros where it has none (`labelled` says it)
    groups, validation: as of hpo.data.Samples
    checksum:   SHA-256 over their number, labels and a few samples: the whole is too large to be read for it
    """

    def __init__(
        self,
        source: Source,
        labels: Tensor | None,
        groups: Tensor | None,
        validation: Tensor | None,
        checksum: str,
        *,
        workers: int,
        device: torch.device,
    ) -> None:
        known = labels if labels is not None else torch.zeros(len(source), dtype=torch.int64)
        self.device, self.labels, self.labelled = device, known.to(device), labels is not None
        self.groups, self.validation, self.checksum = groups, validation, checksum
        self.plain = source.plain
        self._workers = SampleWorkers(source, workers, pinned=device.type == "cuda")

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor) -> tuple[Any, Tensor]:
        """(what a network is given, targets) of the samples at `index` (int64 [B] on the device), for scoring."""
        return self.loaded(BatchRequest(False, 0, tuple(index.tolist())))

    def loaded(self, wanted: BatchRequest) -> tuple[Any, Tensor]:
        inputs, targets = self._workers.batch(wanted)
        return moved(inputs, self.device), moved(targets, self.device)

    def expect(self, batches: Sequence[BatchRequest]) -> None:
        self._workers.expect(batches)

    def close(self) -> None:
        self._workers.close()

    def describe(self) -> dict[str, Any]:
        """As TensorSet: nothing is normalised."""
        return {"mean": {}, "std": {}}


class ReadAhead:
    """The batches of a StreamedSet for training or for scoring, loaded before they are asked for.

    most: samples of a batch, which bounds what is in memory
    """

    def __init__(self, samples: StreamedSet, most: int, *, training: bool = False) -> None:
        self.most = most
        self._samples, self._training = samples, training
        self._seed = 0

    def expect(self, parts: Sequence[Tensor], seed: int = 0) -> None:
        """The samples at `parts`, each int64 [B], come next. seed: of whatever their transforms draw."""
        self._seed = seed
        self._samples.expect([self._wanted(part) for part in parts])

    def __call__(self, index: Tensor) -> tuple[Any, Tensor]:
        return self._samples.loaded(self._wanted(index))

    def _wanted(self, index: Tensor) -> BatchRequest:
        return BatchRequest(self._training, self._seed, tuple(index.tolist()))


def load_streamed(
    dataset: Mapping[str, Any], split: Split, folders: Folders, device: torch.device, task: str = "classification"
) -> StreamedSet:
    """A split of a job's data set (Torch.for_trainer), a few samples of which have been looked at.

    Raises StudyError for functions that cannot be had, DataError with their line for what is not as declared.
    """
    function = resolve(str(dataset["loader"]), "data loader")
    collate = dataset["streamed"]["collate"]
    training, own = _datasets(function, split, folders, training=True)
    plain, own_plain = _datasets(function, split, folders, training=False)
    if len(training) != len(plain) or own != own_plain:
        raise _wrong(function, f"{split}: {len(training):,} samples for training and {len(plain):,} for scoring",
                     "return the same samples in the same order, with other transforms")  # fmt: skip
    source = Source(
        training,
        plain,
        resolve(collate, "collate function") if collate else default_collate,
        partial(_ready, dataset, task),
        definition_of(function),
    )
    labels, groups = _attribute(plain, "targets"), _attribute(plain, "groups")
    numbers = sorted({len(plain) * at // LOOKED_AT for at in range(LOOKED_AT)})
    digest = hashlib.sha256(f"{len(plain)} {own}".encode())
    workers = SampleWorkers(source, 0, pinned=False)
    try:
        for value in _flat(workers.batch(BatchRequest(False, 0, tuple(numbers)))):
            digest.update(value.contiguous().numpy().data)
        workers.batch(BatchRequest(True, 0, (numbers[0],)))
    except DataError as error:
        fact = f"{split} split of {dataset['name']}: {error.fact}"
        raise DataError(fact, evidence=error.evidence, next=error.next) from None
    for given in (labels, groups):
        digest.update(b"" if given is None else given.numpy().data)
    validation = None if own is None else torch.arange(len(plain)) >= own
    return StreamedSet(
        source, labels, groups, validation, digest.hexdigest(), workers=dataset["place"]["workers"], device=device
    )


def _datasets(
    function: Callable[..., Any], split: Split, folders: Folders, *, training: bool
) -> tuple[Any, int | None]:
    """(the samples, the first number of those that validate). A pair is the samples to train and to validate on."""
    try:
        given = function(split, folders, training)
    except TypeError as error:
        if line_of(error):
            raise
        raise StudyError(
            f"data loader {function.__name__} cannot be called as datasets(split, folders, training): {error}",
            evidence=[definition_of(function)],
            next='let it take a split, "train" or "test", the folders, and whether to transform for training',
        ) from error
    pair = given if isinstance(given, tuple) and len(given) == 2 and split == "train" else (given,)
    for one in pair:
        if isinstance(one, IterableDataset) or not (hasattr(one, "__getitem__") and hasattr(one, "__len__")):
            raise _wrong(function, f"{split}: returned {type(one).__name__}, which has no samples by number",
                         "return a torch Dataset with __getitem__ and __len__: trials resume by number")  # fmt: skip
        if not len(one):
            raise _wrong(function, f"{split}: there are no samples", "return a Dataset that has some")
    return (ConcatDataset(pair), len(pair[0])) if len(pair) == 2 else (pair[0], None)


def _attribute(samples: Any, name: str) -> Tensor | None:
    """int64 [N]: `samples.targets` as torchvision's Datasets have it, also of a Subset or several in a row."""
    found: Tensor | None = None
    if isinstance(samples, Subset):
        whole = _attribute(samples.dataset, name)
        found = None if whole is None else whole[torch.as_tensor(samples.indices)]
    elif isinstance(samples, ConcatDataset):
        parts = [_attribute(one, name) for one in samples.datasets]
        found = None if any(part is None for part in parts) else torch.cat([p for p in parts if p is not None])
    elif getattr(samples, name, None) is not None:
        values = torch.as_tensor(getattr(samples, name))
        found = values.to(torch.int64) if values.ndim == 1 and not values.is_floating_point() else None
    return found if found is not None and len(found) == len(samples) else None


def _ready(dataset: Mapping[str, Any], task: str, batch: Any) -> Any:
    """[inputs, targets] as training takes them, or what of a batch is not as declared, in words."""
    specs, several = named_specs(dataset), isinstance(dataset["shape"], Mapping)
    classes, declared = len(dataset["classes"]), dataset.get("targets")
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        return f"a batch is {type(batch).__name__}, expected (inputs, targets): a Dataset's sample is such a pair"
    inputs, targets = batch
    if isinstance(inputs, Mapping) is not several or (several and set(inputs) != set(specs)):
        names = ", ".join(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
        return f"inputs are {names}, expected {', '.join(specs) if several else 'a tensor'}"
    for name, value in named(inputs).items():
        wrong = _wrong_input(name, value, specs[name])
        if wrong:
            return wrong
    if not isinstance(targets, Tensor):
        return f"targets are {type(targets).__name__}, expected torch.Tensor"
    first = next(iter(named(inputs).values()))
    wrong_here = wrong_targets(targets, task, classes, len(first), size=first.shape[2:], declared=declared)
    return "; ".join(wrong_here) or [inputs, as_trained(targets_for(targets, task, classes))]


def _wrong_input(name: str, value: Any, spec: Mapping[str, Any]) -> str:
    shape, dtype = list(spec["shape"]), getattr(torch, spec["dtype"])
    if not isinstance(value, Tensor) or value.dtype != dtype or list(value.shape[1:]) != shape:
        shown = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        return f"{name}: {shown}, expected {dtype} [{', '.join(map(str, ('N', *shape)))}]"
    if dtype.is_floating_point and not value.sum().isfinite() and not value.isfinite().all():
        return f"{name} has NaN or infinity"
    if spec["below"] is not None and (int(value.min()) < 0 or int(value.max()) >= spec["below"]):
        return f"{name} runs from {int(value.min())} to {int(value.max())}, expected 0..{spec['below'] - 1}"
    return ""


def _flat(batch: Any) -> list[Tensor]:
    inputs, targets = batch
    return [*named(inputs).values(), targets]


def _wrong(function: Callable[..., Any], fact: str, next_step: str) -> DataError:
    return DataError(fact, evidence=[definition_of(function)], next=next_step)
