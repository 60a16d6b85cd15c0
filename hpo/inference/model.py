"""A trained model from the folder that hpo.training.final.export wrote, with the normalisation built in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hpo.conforming import conforms
from hpo.data.augment import both_ways
from hpo.decoding import decoded
from hpo.errors import HpoError, UsageError
from hpo.models.build import build_model
from hpo.models.inputs import Inputs, Shape, shape_of
from hpo.study.own import is_own_builder, todays_name
from hpo.study.tasks import TASKS
from hpo.user_code import line_of
from hpo.wording import shortened

__all__ = ["Classifier", "SavedModel", "TensorClassifier", "Trust", "load_model"]


class Classifier(nn.Module):
    """A network together with the normalisation it was trained on.

    mirrored: whether outputs are the mean of those for the images and their mirror images, as the recipe's test_flip
    forward: images [N, C, H, W], float in 0..1 or uint8 in 0..255 -> logits [N, classes], or [N, classes, H, W]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor, *, mirrored: bool = False) -> None:
        super().__init__()
        self.network = network
        self.mirrored = mirrored
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("std", std.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255.0
        forward = both_ways(self.network) if self.mirrored else self.network
        logits: Tensor = forward((images - self.mean) / self.std)
        return logits


class TensorClassifier(nn.Module):
    """A network of other inputs than images, with the normalisation of those that it was trained on normalised.

    forward: a tensor [N, *shape], or a dict of them, as the data set's loader gives them -> logits [N, classes]
    """

    def __init__(self, network: nn.Module, constants: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.network = network
        self._normalised = tuple(constants)
        for name, (mean, std) in constants.items():
            self.register_buffer(f"mean_{name}", mean)
            self.register_buffer(f"std_{name}", std)

    def forward(self, inputs: Inputs) -> Tensor:
        if isinstance(inputs, dict):
            ready: Inputs = {name: self._ready(name, value) for name, value in inputs.items()}
        else:
            ready = self._ready("inputs", inputs)
        logits: Tensor = self.network(ready)
        return logits

    def _ready(self, name: str, value: Tensor) -> Tensor:
        if name not in self._normalised:
            return value
        return (value - self.get_buffer(f"mean_{name}")) / self.get_buffer(f"std_{name}")


@dataclass(frozen=True)
class SavedModel:
    """`classifier` is in evaluation mode on the CPU; `shape` (C, H, W) of its images; `about`: all of config.json.

    Of other inputs than images `dtypes` says the type of each, and `shape` is that of a sample of each. predict: the
    function of a Task that says what outputs mean; "" where there is none, None where it is not trusted.
    """

    classifier: Classifier | TensorClassifier
    shape: Shape
    classes: tuple[str, ...]
    about: dict[str, Any]
    dtypes: str | dict[str, str] | None = None
    predict: str | None = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W). Raises UsageError for a model of other inputs."""
        if self.dtypes is not None or isinstance(self.shape, dict):
            raise UsageError(
                f"this model reads no images: its inputs are {self.shape} of {self.dtypes}",
                next="`hpo export` gives a file that takes tensors",
            )
        channels, height, width = self.shape
        return channels, height, width

    @property
    def task(self) -> str:
        """What its outputs mean: a key of hpo.study.tasks.TASKS, or the name of a Task of the user's own."""
        return str(self.about.get("task", "classification"))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the outputs for one sample: (classes,), or (classes, H, W) for segmentation, or as the Task says."""
        if "outputs" in self.about:
            return tuple(self.about["outputs"])
        size = self.shape[1:] if self.task == "segmentation" and isinstance(self.shape, tuple) else ()
        return (len(self.classes), *size)


class _Predict(TypedDict):
    """The function of a Task that says what outputs mean, and what it reads."""

    function: str
    parameters: dict[str, Any]


class _Description(TypedDict):
    """The part of config.json that is needed to build the network."""

    model: str
    parameters: dict[str, Any]
    shape: list[int] | dict[str, list[int]]
    classes: list[str]
    mean: list[float] | dict[str, Any]
    std: list[float] | dict[str, Any]
    dtype: NotRequired[str | dict[str, str]]
    task: NotRequired[str]
    outputs: NotRequired[list[int]]
    predict: NotRequired[_Predict]
    config: NotRequired[dict[str, Any]]
    subset: NotRequired[int | None]
    sys_path: NotRequired[list[str]]


_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError,
    SafetensorError,
)  # fmt: skip
"""What may be raised when a folder is read, or a network is built with the parameters in it."""


@dataclass(frozen=True)
class Trust:
    """Whose code may build a model, besides hpo's own. The model's folder may come from anybody.

    builder, folders: "module:function" and where to find it, from a study's file that the user named
    predict:  that of the study's Task, as well
    anything: the user trusts the folder: whatever its config.json names is run
    say:      called with what is about to run because the folder names it
    """

    builder: str = ""
    folders: Sequence[str] = ()
    anything: bool = False
    say: Callable[[str], None] = lambda sentence: None
    predict: str = ""


def load_model(folder: Path, study: str, trust: Trust | None = None) -> SavedModel:
    """The model in `folder`.

    Raises UsageError where its files are missing or damaged or do not fit together, and where it is built by code that
    neither comes with hpo nor is trusted.
    """
    weights, description = folder / "model.safetensors", folder / "config.json"
    missing = [path.name for path in (weights, description) if not path.is_file()]
    if missing:
        raise UsageError(
            f"{folder} has no {' and no '.join(missing)}",
            evidence=["`hpo evaluate` writes them: it retrains the best configurations and saves the winner"],
            next=f"`hpo evaluate --study {study}`, or say with --model where the winner's folder is",
        )
    try:
        about = decoded(description.read_text(encoding="utf-8"))
        if not conforms(about, _Description):
            raise ValueError("config.json is not as `hpo evaluate` writes it")
        if about.get("task", "classification") not in TASKS and "outputs" not in about:
            raise ValueError(f"config.json has the unknown task {shortened(about['task'], 200)}")
        shape = shape_of(about)
        _make_importable(about, folder, trust or Trust())
        predict = _own_predict(about, trust or Trust())
        network = _built(about, shape, folder)
        network.load_state_dict(load_file(weights))
        classifier = _classifier(network, about).eval()
    except _DAMAGE as error:
        said = next(iter(str(error).strip().splitlines()), "")
        kind = "" if said and isinstance(error, ValueError) else f"{type(error).__name__}{': ' if said else ''}"
        raise UsageError(
            f"{folder} does not hold a model that can be loaded",
            evidence=[f"{kind}{said}"],
            next=f"`hpo evaluate --study {study}` writes it again",
        ) from error
    return SavedModel(classifier, shape, tuple(about["classes"]), about, about.get("dtype"), predict)


def _classifier(network: nn.Module, about: Mapping[str, Any]) -> Classifier | TensorClassifier:
    mean, std = about["mean"], about["std"]
    if "dtype" not in about:
        mirrored = about.get("config", {}).get("test_flip") is True
        return Classifier(network, torch.tensor(mean), torch.tensor(std), mirrored=mirrored)
    constants = {name: (torch.tensor(mean[name]), torch.tensor(std[name])) for name in mean}
    return TensorClassifier(network, constants)


def _built(about: dict[str, Any], shape: Shape, folder: Path) -> nn.Module:
    """The network, still without its weights. An error of a builder that is not hpo's is told with its line."""
    builder = about["model"]
    try:
        return build_model(builder, shape, (about.get("outputs") or [len(about["classes"])])[0], _parameters(about))
    except HpoError:
        raise
    except Exception as error:
        if is_own_builder(builder):
            raise  # by what the folder says
        said = f"{type(error).__name__}: {error}".strip().removesuffix(":")
        raise UsageError(
            f"{builder} does not build the network of {folder}: {shortened(said, 200)}",
            evidence=[line_of(error)],
            next="fix that code, or take the code that the network was trained with",
        ) from error


def _make_importable(about: dict[str, Any], folder: Path, trust: Trust) -> None:
    """Allow the model's builder to be imported, or refuse it: a name in a file is no reason to run what it names."""
    builder = about["model"]
    if is_own_builder(builder):
        return
    if builder == trust.builder:
        folders = trust.folders
    elif trust.anything:
        folders = about.get("sys_path", [])
        trust.say(f"runs {builder}, found from {', '.join(folders) or 'here'}: {folder} is trusted (--trust)")
    elif now := todays_name(builder):
        raise UsageError(
            f"{folder} was saved by an earlier hpo, or by a module of your own: its model is {builder}",
            evidence=[f"hpo's own is now called {now}"],
            next=f'write "model": "{now}" in {folder / "config.json"}, or give --study with your own file',
        )
    else:
        raise UsageError(
            f"{folder} is built by code that does not come with hpo: {shortened(builder, 200)}",
            evidence=["whoever wrote the folder chose it, and loading the model would run it"],
            next="--study with the file of the study that declares this model, or --trust if you know who wrote it",
        )
    sys.path += [path for path in folders if path not in sys.path]  # last, so that none hides hpo's own


def _own_predict(about: dict[str, Any], trust: Trust) -> str | None:
    """The function of a Task of the user's own that says what outputs mean: "" for none, None for one not trusted."""
    function = about["predict"]["function"] if "predict" in about else ""
    if not function or not (trust.anything or function == trust.predict):
        return None if function else ""
    folders = trust.folders if function == trust.predict else about.get("sys_path", [])
    sys.path += [path for path in folders if path not in sys.path]
    if function != trust.predict:
        trust.say(f"runs {function}: the folder is trusted (--trust)")
    return str(function)


def _parameters(about: dict[str, Any]) -> dict[str, Any]:
    """The network's parameters, without ImageNet weights: the folder's replace them, so nothing is downloaded."""
    own = is_own_builder(about["model"])
    return {
        name: value for name, value in about["parameters"].items() if not (own and name in ("pretrained", "weights"))
    }
