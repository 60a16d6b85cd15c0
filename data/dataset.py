"""What a study says of a data set: the row of the table, and what rows of one's own have in common. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from hpo.errors import StudyError

__all__ = ["Dataset", "Tensor"]

DTYPES = ("float32", "int64", "uint8")

KEPT = {
    "classification": 'Tensor(dtype="int64")',
    "multilabel": "a Tensor of as many numbers as there are labels",
    "regression": "a Tensor of as many float32 numbers as there are values",
    "segmentation": 'Tensor(height, width, dtype="uint8")',
}
"""The targets that the tasks which come with hpo take, in words."""


@dataclass(frozen=True, init=False)
class Tensor:
    """An input of a network: its shape for one sample, and its type. Values go to the network as the loader gives them.

    shape:     Tensor(30) is 30 numbers, Tensor(3, 32, 32) three planes of them, Tensor() a single one
    dtype:     "float32", "int64" (such as the numbers of tokens), "uint8"
    normalise: subtract the mean and divide by the deviation of the samples trained on, of each number of Tensor(30), of
               each plane of Tensor(3, 32, 32); the network gets float32
    below:     of int64: values run from 0 to below - 1, as an embedding needs them
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    normalise: bool = False
    below: int | None = None

    def __init__(self, *shape: int, dtype: str = "float32", normalise: bool = False, below: int | None = None) -> None:
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in shape):
            raise StudyError(
                f"Tensor{shape!r} must have whole numbers of at least 1", next="Tensor(30), for 30 numbers"
            )
        if dtype not in DTYPES:
            raise StudyError(f"Tensor(dtype={dtype!r}) is not one of {', '.join(DTYPES)}", next='dtype="float32"')
        if normalise and (dtype == "int64" or not shape):
            raise StudyError(
                f"{'int64 values' if shape else 'Tensor()'} cannot be normalised",
                next='leave normalise out; dtype="float32" for quantities, Tensor(1) for a single one',
            )
        if below is not None and (dtype != "int64" or isinstance(below, bool) or below < 1):
            raise StudyError(f"Tensor(below={below!r}) goes with int64, and is at least 1")
        for name, value in {"shape": shape, "dtype": dtype, "normalise": normalise, "below": below}.items():
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        words = [*map(str, self.shape), *([f"dtype={self.dtype}"] if self.dtype != "float32" else [])]
        words += ["normalise=True"] if self.normalise else []
        return f"Tensor({', '.join([*words, *([f'below={self.below}'] if self.below is not None else [])])})"


@dataclass(frozen=True)
class Dataset:
    """A row of the table.

    loader:       "module:function", called with a split ("train" or "test") and the folders to read and to cache in
    shape:        (channels, height, width) of an image
    classes:      names of the classes, in label order
    validation:   share of the train split held out for validation by default
    download:     whether torchvision fetches it; False for what comes with an installed package
    inputs:       instead of `shape`, for samples that are no images: a Tensor, or several by name; the loader gives
                  Samples
    targets:      what the loader gives as the targets of one sample. The tasks that come with hpo know theirs; a Task
                  of one's own needs it. Without `classes` each number has a name: value, or value 1, value 2, ...
    """

    loader: str
    shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    validation: float = 0.2
    download: bool = True
    help: str = ""
    inputs: Tensor | Mapping[str, Tensor] | None = field(default=None, hash=False)
    targets: Tensor | None = None

    def __post_init__(self) -> None:
        self._check_targets()
        if self.inputs is None:
            return
        if self.shape:
            raise StudyError(
                f"Dataset(shape={self.shape!r}, inputs=...) says twice what a sample is",
                next="shape=(channels, height, width) for images in uint8, inputs=Tensor(...) for anything else",
            )
        given = self.inputs.values() if isinstance(self.inputs, Mapping) else [self.inputs]
        names = list(self.inputs) if isinstance(self.inputs, Mapping) else ["inputs"]
        if not names or not all(isinstance(one, Tensor) for one in given):
            raise StudyError(
                f"Dataset(inputs={self.inputs!r}) is neither a Tensor nor a dict of them",
                next="inputs=Tensor(30), from hpo.data import Tensor",
            )
        if not all(isinstance(name, str) and name.isidentifier() for name in names):
            raise StudyError(f"the inputs' names {names} must be words", next='inputs={"text": Tensor(128), ...}')

    def _check_targets(self) -> None:
        if self.targets is None:
            return
        if not isinstance(self.targets, Tensor) or self.targets.normalise:
            raise StudyError(
                f"Dataset(targets={self.targets!s}) is not a Tensor as the loader gives it",
                next="targets=Tensor(4) for four numbers, from hpo.data import Tensor; nothing normalises them",
            )
        if not self.classes and self.targets.dtype == "float32":
            count = prod(self.targets.shape)
            names = ("value",) if count == 1 else tuple(f"value {number + 1}" for number in range(count))
            object.__setattr__(self, "classes", names)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(channels, height, width) of images in uint8, or of one input that networks for images take as well."""
        shape = self.shape
        if self.inputs is not None:
            one = self.inputs if isinstance(self.inputs, Tensor) else None
            floats = one is not None and (one.dtype == "float32" or one.normalise)
            shape = one.shape if one is not None and floats else ()
        return (shape[0], shape[1], shape[2]) if len(shape) == 3 else None

    @property
    def inputs_shown(self) -> str | None:
        """The inputs as text, for a study's declaration; None for images."""
        if self.inputs is None or isinstance(self.inputs, Tensor):
            return None if self.inputs is None else str(self.inputs)
        return ", ".join(f"{name}={one}" for name, one in self.inputs.items())

    @property
    def name(self) -> str:
        """What a study's declaration calls it: the same on every host."""
        return self.loader

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in label order, read from the files where these decide them."""
        return self.classes

    def for_task(self, task: str) -> Dataset:
        """The same for a study of `task`, a key of hpo.study.tasks.TASKS or the name of a Task of one's own.

        Raises StudyError where it has no such targets.
        """
        wanted = KEPT.get(task)
        if wanted is None and self.targets is None:
            raise StudyError(
                f'the task "{task}" is of your own, and the data set does not say what its targets are',
                next="targets=Tensor(4) in the data set, for four numbers; from hpo.data import Tensor",
            )
        if wanted is not None and self.targets is not None and not self._suits(task, self.targets):
            raise StudyError(
                f"the data set has targets={self.targets}, and {task} takes {wanted}",
                next="leave targets= out, or task=Task(...) in the study, from hpo import Task",
            )
        return self

    def _suits(self, task: str, targets: Tensor) -> bool:
        """Whether a task that comes with hpo takes such targets."""
        if task == "classification":
            return (targets.shape, targets.dtype) == ((), "int64")
        if task == "segmentation":
            return len(targets.shape) == 2 and targets.dtype != "float32"
        shapes = [(len(self.classes),), *([()] if len(self.classes) == 1 else [])]
        return targets.shape in shapes and (task == "multilabel" or targets.dtype == "float32")

    def sources(self) -> Mapping[str, str]:
        """The user's own data, by name: 32 hexadecimal digits that change with its content. Empty where it has none."""
        return {}

    def notes(self) -> list[str]:
        """What may surprise people about the data, as sentences for `hpo check`."""
        return []

    def for_trainer(self, name: str) -> dict[str, Any]:
        """What a job says of it (hpo.messages.Job); `name` is what the study calls it.

        "options" are more arguments for the loader. "place" are those that say where this host has the files, and
        decide no result.
        """
        return {
            "name": name,
            "loader": self.loader,
            "shape": list(self.shape),
            "classes": list(self.class_names),
            "validation": self.validation,
            **_described(self.inputs),
            **({"targets": _described(self.targets)} if self.targets is not None else {}),
        }


def _described(inputs: Tensor | Mapping[str, Tensor] | None) -> dict[str, Any]:
    """shape, dtype, below and normalise, each by the inputs' names where there are several."""
    if inputs is None:
        return {}
    if isinstance(inputs, Tensor):
        return asdict(inputs) | {"shape": list(inputs.shape)}
    each = {name: _described(one) for name, one in inputs.items()}
    return {key: {name: one[key] for name, one in each.items()} for key in ("shape", "dtype", "normalise", "below")}
