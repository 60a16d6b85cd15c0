"""ImageNet weights from torchvision: fetched, compared with the model, loaded; and images scaled to the size they need.

Images come in normalised by their own data set's constants, as ImageNet's were by ImageNet's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import WeightsEnum

from hpo.errors import DataError

__all__ = ["Resized", "load_pretrained", "load_weights"]


class Resized(nn.Module):
    """`network` on images scaled to `side` x `side` pixels, on whatever device they are."""

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network = network
        self.side = side

    @property
    def classifier(self) -> nn.Module:
        """The network's head: what trains while the rest is frozen."""
        return self.network.get_submodule("classifier")

    def forward(self, images: Tensor) -> Tensor:
        larger = F.interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return cast(Tensor, self.network(larger))


def load_pretrained(model: nn.Module, weights: WeightsEnum, head: str) -> None:
    """Load `weights` into `model`, except into the last layer of its module `head`.

    Raises DataError, with file and folder, if the weights cannot be fetched or belong to another network.
    On the meta device they are fetched and compared, and not copied.
    """
    load_weights(model, _fetch(weights), head, str(_path(weights)), "delete the file, so that it is fetched again")


def load_weights(
    model: nn.Module,
    state: dict[str, Tensor],
    head: str,
    place: str,
    instead: str = "take the weights of this network, or the network of these weights",
) -> None:
    """Load `state`, which comes from `place`, into `model`, except into the last layer of its module `head`.

    Raises DataError, which names `instead` as the next step, if it is of another network. On the meta device it is
    compared, and not copied.
    """
    own = model.state_dict()
    new = _last_layer(own, head)
    wrong = [_difference(name, state.get(name), own[name]) for name in own if name not in new]
    problems = [line for line in wrong if line] + [f"{name}: not in this network" for name in set(state) - set(own)]
    if problems:
        raise DataError(
            f"the pretrained weights in {place} are not of this network",
            evidence=[*sorted(problems)[:5], *([f"and {len(problems) - 5} more"] if len(problems) > 5 else [])],
            next=instead,
        )
    if any(value.is_meta for value in own.values()):
        return
    model.load_state_dict({name: value for name, value in state.items() if name not in new}, strict=False)


def _fetch(weights: WeightsEnum) -> dict[str, Tensor]:
    """The state dict as torchvision keeps it, downloaded into torch.hub's folder if it is not there yet."""
    path = _path(weights)
    present = path.exists()
    try:
        return cast(dict[str, Tensor], weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:
        reason = str(error).strip().splitlines()
        fact = "cannot be read" if present else "are not here and could not be fetched"
        raise DataError(
            f"the pretrained weights {path.name} {fact}",
            evidence=[
                f"wanted {path}",
                f"TORCH_HOME is {os.environ.get('TORCH_HOME') or 'not set'}",
                f"from {weights.url}",
                f"{type(error).__name__}: {reason[0] if reason else 'no reason given'}",
            ],
            next="delete the file" if present else "copy the file there from a machine with a network, and run again",
        ) from error


def _path(weights: WeightsEnum) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name


def _last_layer(state: dict[str, Tensor], head: str) -> set[str]:
    """The weight and bias of the last layer under `head`: as many outputs as classes."""
    prefix = [name for name in state if name.startswith(f"{head}.")][-1].rpartition(".")[0]
    return {name for name in state if name.rpartition(".")[0] == prefix}


def _difference(name: str, given: Tensor | None, wanted: Tensor) -> str:
    if given is None:
        return f"{name}: missing"
    if given.shape != wanted.shape:
        return f"{name}: {list(given.shape)}, wanted {list(wanted.shape)}"
    return ""
