"""One split of inputs of any kind with their targets, as a loader gives it, and what a declaration said of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hpo.data.targets import targets_for, wrong_targets
from hpo.errors import DataError
from hpo.user_code import definition_of

__all__ = ["Samples", "checked_samples", "named"]

SHOWN = 5


@dataclass(frozen=True, eq=False)
class Samples:
    """One split: inputs [N, ...], or a dict of such tensors, and targets: int64 [N], the class of each, or as
    hpo.data.targets.wrong_targets says for another task.

    groups:     int64 [N] or None: samples of one number, such as those of one patient, stay on one side of every split
    validation: bool [N] or None: which samples of the train split validate; None leaves that to the study
    """

    inputs: Tensor | dict[str, Tensor]
    targets: Tensor
    groups: Tensor | None = None
    validation: Tensor | None = None
    checksum: str = field(default="", repr=False)

    @property
    def labels(self) -> Tensor:
        """The targets, as RawImages call them."""
        return self.targets


def named(inputs: Any) -> dict[str, Any]:
    """One input as a dict with the name "inputs"; several as they are."""
    return dict(inputs) if isinstance(inputs, Mapping) else {"inputs": inputs}


def checked_samples(
    data: object,
    function: Callable[..., Any],
    what: str,
    inputs: Mapping[str, Any],
    classes: int,
    task: str = "classification",
) -> Samples:
    """`data` with its checksum, and its targets as training takes them.

    Raises DataError, with the line of the loader, for what the declaration did not say.
    what:   the split and the data set, in words
    inputs: {"shape", "dtype", "below"} of each input by name (Dataset.for_trainer), and of "targets" where declared
    """
    here = definition_of(function)
    if not isinstance(data, Samples):
        raise DataError(
            f"the loader of {what} returned {type(data).__name__}, not hpo.data.Samples",
            evidence=[here],
            next="return hpo.data.Samples(inputs, targets) of torch tensors",
        )
    given, wanted = named(data.inputs), named_specs(inputs)
    problems = (
        [f"inputs are named {', '.join(given)}, expected {', '.join(wanted)}"] if set(given) != set(wanted) else []
    )
    for name in wanted if not problems else ():
        problems += _wrong_input(name, given[name], wanted[name])
    if not problems:
        size = wanted["inputs"]["shape"][1:] if "inputs" in wanted else ()
        problems = _wrong_counts(given, data, task, classes, size, inputs.get("targets"))
    if problems:
        raise DataError(
            f"{what} is not what its declaration says",
            evidence=[*problems, here],
            next="mend the loader, or the declaration: inputs=, targets= and classes= of the data set",
        )
    order = {name: given[name].contiguous() for name in wanted}
    one = order if isinstance(inputs.get("shape"), Mapping) else order["inputs"]
    targets = targets_for(data.targets, task, classes)
    return Samples(one, targets, data.groups, data.validation, _checksum(order, data))


def named_specs(inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"shape", "dtype", "below"} of each input by name."""
    keys = ("shape", "dtype", "below")
    if isinstance(inputs["shape"], Mapping):
        return {name: {key: inputs[key][name] for key in keys} for name in inputs["shape"]}
    return {"inputs": {key: inputs[key] for key in keys}}


def _wrong_input(name: str, value: object, spec: Mapping[str, Any]) -> list[str]:
    shape, dtype = list(spec["shape"]), getattr(torch, spec["dtype"])
    if not isinstance(value, Tensor):
        return [f"{name} is {type(value).__name__}, expected torch.Tensor"]
    if value.dtype != dtype or list(value.shape[1:]) != shape or not value.ndim:
        sizes = ", ".join(map(str, ("N", *shape)))
        return [f"{name} is {value.dtype} {list(value.shape)}, expected {dtype} [{sizes}]"]
    if dtype.is_floating_point:
        return [*_not_finite(name, value)]
    low, high = (int(value.min()), int(value.max())) if len(value) else (0, 0)
    if spec["below"] is not None and (low < 0 or high >= spec["below"]):
        return [f"{name} runs from {low} to {high}, expected 0..{spec['below'] - 1}"]
    return []


def _not_finite(name: str, value: Tensor) -> list[str]:
    bad = torch.nonzero(~value.flatten(1).isfinite().all(1) if value.ndim > 1 else ~value.isfinite())[:, 0]
    if not len(bad):
        return []
    first = ", ".join(str(at) for at in bad[:SHOWN].tolist()) + (" ..." if len(bad) > SHOWN else "")
    return [f"{name} has NaN or infinity in {len(bad):,} of {len(value):,} samples: {first}"]


def _wrong_counts(
    given: Mapping[str, Tensor],
    data: Samples,
    task: str,
    classes: int,
    size: Sequence[int],
    declared: Mapping[str, Any] | None,
) -> list[str]:
    count = len(next(iter(given.values())))
    wrong = [
        f"{name} has {len(value)} samples, and others {count}" for name, value in given.items() if len(value) != count
    ]
    targets: object = data.targets
    if not isinstance(targets, Tensor):
        wrong.append(f"targets are {type(targets).__name__}, expected torch.Tensor")
    elif count:
        wrong += wrong_targets(targets, task, classes, count, size=size, declared=declared)
    expected = {"groups": torch.int64, "validation": torch.bool}
    for name, dtype in expected.items():
        value = getattr(data, name)
        if value is None:
            continue
        if not isinstance(value, Tensor) or value.dtype != dtype or list(value.shape) != [count]:
            seen = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            wrong.append(f"{name}: {seen}, expected {dtype} [{count}]")
    if not wrong and data.validation is not None and (data.validation.all() or not data.validation.any()):
        wrong.append("validation marks all samples, or none")
    return wrong or ([] if count else ["there are no samples"])


def _checksum(inputs: Mapping[str, Tensor], data: Samples) -> str:
    """SHA-256 over everything in it."""
    more: Sequence[tuple[str, Tensor | None]] = (
        ("targets", data.targets), ("groups", data.groups), ("validation", data.validation),
    )  # fmt: skip
    digest = hashlib.sha256()
    for name, tensor in (*inputs.items(), *more):
        if tensor is not None:
            digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()
