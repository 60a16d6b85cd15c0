"""The models: one literal table, one file per family.

To add one, write `build(shape, classes, **parameters) -> torch.nn.Module` in a file of its own and add a row. The row
names the builder by string, so this module (and every study) imports without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MODELS", "Model", "Reads"]


@dataclass(frozen=True)
class Reads:
    """How a builder uses one parameter: its type, the default (None: required), and inclusive bounds.

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
    """

    builder: str
    reads: Mapping[str, Reads] = field(default_factory=dict)
    image_sizes: tuple[int, int] | None = None
    channels: tuple[int, ...] | None = None
    help: str = ""


MODELS: dict[str, Model] = {
    "perceptron": Model("models.mlp:perceptron", help="one linear layer, pixels to classes"),
    "shallow": Model(
        "models.mlp:shallow",
        {"hidden_units": Reads(int, low=1, help="width of the hidden layer")},
        help="one hidden layer with ReLU",
    ),
    "mlp": Model(
        "models.mlp:mlp",
        {
            "layers": Reads(int, low=1, help="hidden layers"),
            "hidden_units": Reads(int, low=1, per="layers", help="width of each hidden layer"),
            "dropout": Reads(float, 0.0, low=0.0, high=1.0, open_high=True, help="after each hidden layer"),
        },
        help="multilayer perceptron with a width per hidden layer",
    ),
    "lenet": Model(
        "models.lenet:lenet",
        image_sizes=(28, 32),
        help="LeNet-5: 5x5 convolutions of 6 and 16, max pooling, 120, 84",
    ),
}
