"""torchvision's and timm's networks by name, with another head, for images of any size and number of channels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hpo.errors import DataError, StudyError, near_miss
from hpo.models.pretrained import Resized, load_pretrained, load_weights
from hpo.user_code import named_error

__all__ = ["timm_model", "torchvision_model"]

Shape = tuple[int, int, int]


def torchvision_model(
    shape: Shape, classes: int, architecture: str, resize: int = 0, pretrained: bool = False, weights: str = ""
) -> nn.Module:
    """torchvision's `architecture`, such as "resnet18": [N, C, H, W] -> [N, classes].

    resize:     pixels a side that images are scaled to (bilinear) on their device; 0 leaves them as they are
    pretrained: start from torchvision's ImageNet weights, with a new head; for images of 3 channels
    weights:    the same from a file of a state dict, .safetensors or what torch.save writes
    Raises StudyError for an unknown name, DataError for weights that are missing or of another network.
    """
    from torchvision import models

    _known(architecture, models.list_models(module=models), "torchvision")
    without = {"aux_logits": False} if architecture in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about initial weights that these two will draw in another way some day
        model = models.get_model(architecture, weights=None, num_classes=classes, **without)
    head = _last(model.state_dict()).partition(".")[0]
    if pretrained:
        _needs_colour(shape)
        load_pretrained(model, models.get_model_weights(architecture).DEFAULT, head)
    elif weights:
        _needs_colour(shape)
        load_weights(model, _read(weights), head, weights)
    elif shape[0] != 3:
        _take_channels(model, shape[0], architecture)
    return Resized(model, resize) if resize else model


def timm_model(shape: Shape, classes: int, architecture: str, resize: int = 0, weights: str = "") -> nn.Module:
    """timm's `architecture`, such as "resnet18d": [N, C, H, W] -> [N, classes]; see `torchvision_model`.

    Networks that are made for one size of images are made for these, where timm can.
    """
    try:
        import timm
    except ImportError as error:
        raise StudyError("timm is not installed", next="pip install timm, or pip install -e '.[timm]'") from error
    _known(architecture, timm.list_models(), "timm")
    options: dict[str, Any] = {"num_classes": classes, "in_chans": shape[0]}
    sides = (resize, resize) if resize else shape[1:]
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=False, img_size=sides, **options)
    except TypeError:  # most networks take any size, and not this argument
        model = timm.create_model(architecture, pretrained=False, **options)
    if weights:
        config = getattr(model, "pretrained_cfg", None) or {}
        head = config.get("classifier") or _last(model.state_dict()).partition(".")[0]
        load_weights(model, _read(weights), head, weights)
    return Resized(model, resize) if resize else model


def _known(architecture: str, names: Iterable[str], library: str) -> None:
    names = list(names)
    if architecture not in names:
        raise StudyError(
            f'{library} has no network "{architecture}"',
            evidence=[near_miss(architecture, names)],
            next=f'model="{library}:resnet18"; {library}.list_models() in Python lists all',
        )


def _needs_colour(shape: Shape) -> None:
    if shape[0] != 3:
        raise StudyError(
            f"pretrained weights are for images of 3 channels, not {shape[0]}",
            next="ImageFolder(..., channels=3) reads grey images as colour, or leave the weights out",
        )


def _take_channels(model: nn.Module, channels: int, architecture: str) -> None:
    """Replace the first convolution by the same one for `channels` channels."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels != 3 or layer.groups != 1:
                break
            made = nn.Conv2d(
                channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                layer.dilation,  # type: ignore[arg-type]
                bias=layer.bias is not None,
            )
            nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
            owner, _, last = name.rpartition(".")
            model.get_submodule(owner).register_module(last, made)
            return
    raise StudyError(
        f"torchvision's {architecture} takes images of 3 channels, not {channels}",
        next="ImageFolder(..., channels=3) reads grey images as colour",
    )


def _last(state: dict[str, Tensor]) -> str:
    return list(state)[-1]


def _read(weights: str) -> dict[str, Tensor]:
    path = Path(weights)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(
            f"there are no weights in {path}", next="check the path; a relative one starts in the folder you run hpo in"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise DataError(
            f"the weights in {path} cannot be read",
            evidence=[named_error(error)],
            next="a state dict as torch.save(model.state_dict(), ...) writes it, or .safetensors",
        ) from error
    for key in ("state_dict", "model"):  # how training scripts wrap it
        state = state.get(key, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} holds no state dict", next="write it by torch.save(model.state_dict(), ...)")
    return state
