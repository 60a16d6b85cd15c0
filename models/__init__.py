"""The models: one literal table, one file per family.

To add one, write `build(shape, classes, **parameters) -> torch.nn.Module` in a file of its own and add a row. The row
names the builder by string, so this module (and every study) imports without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MODELS", "NAMED", "Model", "Reads", "named_model"]

if __name__ != "hpo.models":
    raise ImportError("hpo's own models package is imported as hpo.models", name=__name__)


@dataclass(frozen=True)
class Reads:
    """How a builder uses one parameter: its type, default (None: required) and inclusive bounds.

    per: the parameter that gives the length, where the builder takes a list of values (one per layer).
    """

    kind: type
    default: object = None
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    per: str | None = None
    help: str = ""


@dataclass(frozen=True)
class Model:
    """A row of the table: `builder` is "module:function"; `reads` is what it reads from a trial's configuration.

    image_sizes: (smallest, largest) height and width the network takes, None where it takes any.
    channels:    input channels it takes, None where it takes any.
    cuda_graphs: record its training step on a GPU as a CUDA graph, which makes small networks faster. Only for one
                 whose forward pass reads no value and lets the host decide nothing that changes from step to step.
                 hpo's own are recorded anyway.
    """

    builder: str
    reads: Mapping[str, Reads] = field(default_factory=dict)
    image_sizes: tuple[int, int] | None = None
    channels: tuple[int, ...] | None = None
    help: str = ""
    cuda_graphs: bool = False


_SHARE: dict[str, Any] = {"low": 0.0, "high": 1.0, "open_low": True, "open_high": True}
_DROPOUT: dict[str, Any] = {"low": 0.0, "high": 1.0, "open_high": True}

_WIDTH = Reads(float, 1.0, low=0.0, open_low=True, high=16.0, help="multiplies every channel count")
_ZOO: dict[str, Reads] = {
    "width": _WIDTH,
    "stem_stride": Reads(int, 2, low=1, high=2, help="2 as in the original, 1 for images of 32 pixels"),
    "dropout": Reads(float, 0.2, **_DROPOUT, help="before the last layer"),
    "pretrained": Reads(bool, False, help="start from ImageNet weights, with a new head (see freeze_epochs)"),
    "resize": Reads(int, 0, low=0, high=1024, help="pixels a side that images are scaled to; 0 leaves them"),
}

MODELS: dict[str, Model] = {
    "perceptron": Model("hpo.models.mlp:perceptron", help="one linear layer, pixels to classes"),
    "shallow": Model(
        "hpo.models.mlp:shallow",
        {"hidden_units": Reads(int, low=1, help="width of the hidden layer")},
        help="one hidden layer with ReLU",
    ),
    "mlp": Model(
        "hpo.models.mlp:mlp",
        {
            "layers": Reads(int, low=1, help="hidden layers"),
            "hidden_units": Reads(int, low=1, per="layers", help="width of each hidden layer"),
            "dropout": Reads(float, 0.0, low=0.0, high=1.0, open_high=True, help="after each hidden layer"),
        },
        help="multilayer perceptron with a width per hidden layer",
    ),
    "lenet": Model(
        "hpo.models.lenet:lenet",
        image_sizes=(28, 32),
        help="LeNet-5: 5x5 convolutions of 6 and 16, max pooling, 120, 84",
    ),
    "squeezenet": Model(
        "hpo.models.squeezenet:squeezenet",
        {
            "squeeze_ratio": Reads(float, 0.125, **_SHARE, help="squeezed channels over those of the fire module"),
            "expand3x3_ratio": Reads(float, 0.5, **_SHARE, help="share of a fire module's channels from 3x3"),
            "dropout": Reads(float, 0.5, **_DROPOUT, help="before the classifier"),
            "batch_norm": Reads(bool, False, help="after every convolution"),
            "bypass": Reads(str, "none", choices=("none", "simple"), help="identity around fire modules"),
        },
        image_sizes=(16, 64),
        help="SqueezeNet for small images: eight fire modules",
    ),
    "resnet9": Model(
        "hpo.models.resnet9:resnet9",
        {
            "width": Reads(int, 64, low=1, help="channels of the first convolution; the last has eight times as many"),
            "logit_scale": Reads(float, 0.125, low=0.0, open_low=True, help="factor on what the last layer returns"),
        },
        image_sizes=(8, 1024),
        help="ResNet-9: eight convolutions in two residual blocks and between them",
    ),
    "unet": Model(
        "hpo.models.unet:unet",
        {
            "width": Reads(int, 16, low=1, high=512, help="channels at full size; each half has twice as many"),
            "depth": Reads(int, 2, low=1, high=6, help="how often the image is halved"),
        },
        help="a small U-Net, for segmentation: a class for each pixel",
    ),
    "mobilenet_v1": Model(
        "hpo.models.mobilenet:mobilenet_v1",
        {
            "width": _WIDTH,
            "stem_stride": Reads(int, 1, low=1, high=2, help="1 for images of 32 pixels, 2 as in the original"),
            "dropout": Reads(float, 0.0, **_DROPOUT, help="before the last layer"),
        },
        image_sizes=(16, 1024),
        help="MobileNet V1: thirteen depthwise-separable blocks",
    ),
    "mobilenet_v2": Model("hpo.models.mobilenet:mobilenet_v2", _ZOO, image_sizes=(16, 1024), help="torchvision's"),
    "mobilenet_v3_small": Model(
        "hpo.models.mobilenet:mobilenet_v3_small", _ZOO, image_sizes=(16, 1024), help="torchvision's"
    ),
    "mobilenet_v3_large": Model(
        "hpo.models.mobilenet:mobilenet_v3_large", _ZOO, image_sizes=(16, 1024), help="torchvision's"
    ),
}


_OF_NAMED: dict[str, Reads] = {
    "resize": _ZOO["resize"],
    "weights": Reads(str, "", help="file of pretrained weights; a new head"),
}

NAMED: dict[str, str] = {
    "torchvision": "hpo.models.named:torchvision_model",
    "timm": "hpo.models.named:timm_model",
}
"""Libraries whose networks are models by name, as in "torchvision:resnet18"."""


def named_model(name: str) -> Model | None:
    """The row of a network of another library, "torchvision:resnet18" or "timm:resnet18d"; None for any other name."""
    library, colon, architecture = name.partition(":")
    if not colon or library not in NAMED:
        return None
    reads = {"architecture": Reads(str, architecture, help="name of the network"), **_OF_NAMED}
    if library == "torchvision":
        reads["pretrained"] = _ZOO["pretrained"]
    return Model(NAMED[library], reads, help=f"{library}'s {architecture}")
