"""What hpo expects of a model and of a data set, as checks for yours. hpo's own pass the same checks in its test suite.

    from hpo.testing import check_dataset, check_model

    def test_my_model():
        check_model(study.model_row, {"width": 16}, shape=(1, 28, 28))

Each check raises AssertionError for a broken promise, with the fact, the evidence, and what to do next. A builder or a
loader that cannot be used at all raises StudyError or DataError, as it would in a search.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from hpo.data import DATASETS, Dataset
from hpo.data.files import Folders, RawImages, Split
from hpo.data.load import load
from hpo.data.samples import Samples, named
from hpo.errors import StudyError, near_miss
from hpo.models import MODELS, Model
from hpo.models.build import build_model, resolve
from hpo.settings import Settings

__all__ = ["check_dataset", "check_model"]

Shape = tuple[int, int, int]

SHAPES: tuple[Shape, ...] = ((1, 8, 8), (1, 28, 28), (3, 29, 31), (3, 32, 32))
"""Image shapes [C, H, W] that a model is tried with if its row takes them: small ones, and one that is not square."""

UNDECIDED = 0.5
"""How far the first loss may be from a guess's: a median of eleven seeds, as narrow layers vary much by chance."""

SEEDS = 11

MOST_STEPS = 200
"""Steps of Adam to halve the loss of sixteen images: five times what hpo's slowest model took at worst in 60 seeds."""


def check_model(
    model: Model | str,
    parameters: Mapping[str, Any] | None = None,
    *,
    shape: Shape | None = None,
    classes: int = 10,
    task: str = "classification",
) -> None:
    """The model keeps what a search relies on, or AssertionError says which promise it breaks.

    - The builder takes `shape`, `classes` and exactly the parameters of its row.
    - Float images [N, C, H, W] become finite logits [N, classes], for any number of classes; for the task
      "segmentation" [N, classes, H, W].
    - At first it is undecided: its cross entropy on normalised images is near ln(classes).
    - The same seed gives the same initial weights.
    - A gradient reaches every parameter that is trained.
    - Adam halves the loss of one small batch.

    model:      a row, or the name of one of hpo's models
    parameters: the builder's; the row's defaults fill in the rest, and those without a default are required
    shape:      (C, H, W) of the images; without it, several that the row takes are tried, the largest in training
    Raises StudyError where the network cannot be built. The state of the caller's random numbers is kept.
    """
    row = _row("model", model, MODELS) if isinstance(model, str) else model
    name = model if isinstance(model, str) else model.builder
    given = _parameters(name, row, parameters or {})
    shapes = [shape] if shape is not None else _shapes(row)
    _check_arguments(name, row)
    with torch.random.fork_rng(devices=[]):
        for size in shapes:
            network = _Network(name, row, given, size, classes, task == "segmentation")
            _check_logits(network)
            _check_undecided(network)
        _check_same_for_same_seed(network)
        _check_gradients(network)
        _check_learns(network)


def check_dataset(dataset: Dataset | str, folders: Folders | None = None, *, task: str = "classification") -> None:
    """The data set is what its row says, or AssertionError says which promise it breaks.

    - Images are uint8 [N, C, H, W] of the row's shape, or the inputs what it says of them; labels are int64 [N] in its
      classes, and each split has every class; or targets are as `task` takes them.
    - The images, the labels and the checksum are the same when loaded again.
    - Train and test are different images.
    - The share held out for validation lies between 0 and 1.

    dataset: a row, or the name of one of hpo's data sets
    folders: where to read and to cache; without it, those that a search uses (HPO_DATA_DIR, HPO_HOME)
    Raises DataError for missing or altered files and for images that are not what the row says, StudyError for a loader
    that cannot be imported.
    """
    name, row = (dataset, _row("data set", dataset, DATASETS)) if isinstance(dataset, str) else (dataset.name, dataset)
    folders, row = folders or _folders(), row.for_task(task)
    if not 0 < row.validation < 1:
        raise _broken(f"data set {name} holds out {row.validation} of its images", "validation", "a share such as 0.2")
    train, test = (_check_split(name, row, split, folders, task) for split in ("train", "test"))
    if train.checksum == test.checksum:
        raise _broken(
            f"train and test of data set {name} are the same images",
            f"both have the checksum {train.checksum}",
            'give other images for "test": the winner is measured on them, once',
        )


class _Network:
    """Builds one configuration of a model again and again."""

    def __init__(
        self, name: str, row: Model, parameters: Mapping[str, Any], shape: Shape, classes: int, masks: bool = False
    ) -> None:
        self.name, self.shape, self.classes = name, shape, classes
        self._of_each = shape[1:] if masks else ()
        self.what = f"model {name} for images {list(shape)}"
        self._row, self._parameters = row, parameters

    def build(self, seed: int, classes: int | None = None) -> nn.Module:
        torch.manual_seed(seed)
        return build_model(self._row.builder, self.shape, classes or self.classes, self._parameters)

    def outputs(self, classes: int) -> tuple[int, ...]:
        """The shape of what it gives for one image."""
        return (classes, *self._of_each)

    def labels(self, count: int) -> Tensor:
        """A class for each image, or for each pixel of it."""
        each = torch.arange(count) % self.classes
        return each.view(-1, *[1 for _ in self._of_each]).expand(-1, *self._of_each)


def _check_arguments(name: str, row: Model) -> None:
    """The parameters in the row are those of the builder."""
    taken = list(inspect.signature(resolve(row.builder, "model builder")).parameters)
    if taken[:2] != ["shape", "classes"] or set(taken[2:]) != set(row.reads):
        raise _broken(
            f"the row of model {name} does not read what its builder takes",
            f"builder takes  {', '.join(taken)}\nrow reads      shape, classes, {', '.join(row.reads)}",
            "make the two agree: shape and classes first, then the parameters in `reads`",
        )


def _check_logits(network: _Network) -> None:
    for classes in (network.classes, network.classes + 1):
        logits = network.build(0, classes)(torch.randn(3, *network.shape))
        wanted = (3, *network.outputs(classes))
        if tuple(logits.shape) != wanted or not torch.isfinite(logits).all():
            raise _broken(
                f"{network.what} does not give finite logits for {classes} classes",
                f"3 images gave {list(logits.shape)}, expected {list(wanted)}, from {_range(logits)}",
                "end with a linear layer from features to classes, without softmax",
            )


def _check_undecided(network: _Network) -> None:
    losses = []
    for seed in range(SEEDS):
        model = network.build(seed).eval()
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(torch.randn(64, *network.shape)), network.labels(64))
        losses.append(float(loss))
    if not abs(median(losses) - math.log(network.classes)) < UNDECIDED:
        raise _broken(
            f"{network.what} favours classes before it is trained",
            f"first cross entropy {median(losses):.3g}, the median of {SEEDS} seeds; ln({network.classes}) is "
            f"{math.log(network.classes):.3g}",
            "start the last layer with small weights",
        )


def _check_same_for_same_seed(network: _Network) -> None:
    first, second = (network.build(5).state_dict() for _ in range(2))
    different = [key for key in first if not torch.equal(first[key], second[key])]
    if different:
        raise _broken(
            f"{network.what} starts differently for the same seed",
            _listed(different),
            "draw initial weights from torch's generator alone: no time, no other random numbers",
        )


def _check_gradients(network: _Network) -> None:
    model = network.build(0)
    nn.functional.cross_entropy(model(torch.randn(8, *network.shape)), network.labels(8)).backward()
    trained = {key: parameter.grad for key, parameter in model.named_parameters() if parameter.requires_grad}
    without = [key for key, gradient in trained.items() if gradient is None or not gradient.any()]
    if without:
        raise _broken(
            f"{network.what} has parameters without a gradient",
            _listed(without),
            "use them in forward, or take them out; set requires_grad=False for those that stay as they are",
        )


def _check_learns(network: _Network) -> None:
    """It learns images that can be told apart: in noise the average over all pixels, which many models use, is nearly
    the same for every image. Without dropout, which would make each loss random."""
    model = network.build(0)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images = nn.functional.interpolate(torch.randn(16, network.shape[0], 4, 4), size=network.shape[1:])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(MOST_STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), network.labels(16))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if losses[-1] < losses[0] / 2:
            return
    raise _broken(
        f"{network.what} does not learn sixteen images by heart",
        f"loss {losses[0]:.3g} at first, {min(losses):.3g} at best in {MOST_STEPS} steps of Adam at 1e-3",
        "look for a forward that ignores its input, for detached tensors, and for layers that saturate",
    )


def _check_split(name: str, row: Dataset, split: Split, folders: Folders, task: str) -> RawImages | Samples:
    first, again = (load(row.for_trainer(name), split, folders, task) for _ in range(2))
    by_class = task == "classification"
    missing = sorted(set(range(len(row.class_names))) - set(first.labels.unique().tolist())) if by_class else []
    if missing:
        raise _broken(
            f"the {split} split of data set {name} has no image of some classes",
            _listed([row.class_names[label] for label in missing]),
            "take these names out of the row's classes, or give the split images of them",
        )
    if not _same(first, again) or first.checksum != again.checksum or len(first.checksum) != 64:
        raise _broken(
            f"the {split} split of data set {name} is not the same when it is loaded again",
            f"checksum {first.checksum or 'none'}, then {again.checksum or 'none'}",
            "draw nothing at random in the loader, and use hpo.data.checksum",
        )
    return first


def _same(first: RawImages | Samples, again: RawImages | Samples) -> bool:
    pairs = [(first.labels, again.labels)]
    if isinstance(first, RawImages) and isinstance(again, RawImages):
        pairs.append((first.images, again.images))
    elif isinstance(first, Samples) and isinstance(again, Samples):
        one, other = named(first.inputs), named(again.inputs)
        pairs += [(one[key], other[key]) for key in one]
    return all(torch.equal(one, other) for one, other in pairs)


def _parameters(name: str, row: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    needed = [key for key, reads in row.reads.items() if reads.default is None and key not in given]
    if needed:
        raise StudyError(
            f"model {name} needs {', '.join(needed)} to be built",
            next=f"check_model(..., {{{', '.join(f'{key!r}: ...' for key in needed)}}})",
        )
    return {key: reads.default for key, reads in row.reads.items() if reads.default is not None} | dict(given)


def _shapes(row: Model) -> list[Shape]:
    """Those of SHAPES that the row takes, or else the smallest shape that it takes."""
    low, high = row.image_sizes or (1, 2**16)
    fitting = [
        shape
        for shape in SHAPES
        if (row.channels is None or shape[0] in row.channels) and all(low <= side <= high for side in shape[1:])
    ]
    return fitting or [((row.channels or (3,))[0], low, low)]


def _row(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise StudyError(f'unknown {kind} "{name}"', evidence=[near_miss(name, table)])
    return table[name]


def _folders() -> Folders:
    settings = Settings.read()
    return Folders(settings.data_dir or settings.home / "data", settings.home / "cache")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _range(values: Tensor) -> str:
    return f"{float(values.detach().min()):.3g} to {float(values.detach().max()):.3g}"


def _broken(fact: str, evidence: str, next_step: str) -> AssertionError:
    """The error in the form of all hpo errors."""
    return AssertionError(str(StudyError(fact, evidence=evidence.splitlines(), next=next_step)))
