"""A trained model from its folder (hpo.training.final.export wrote it), with the normalisation built in."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hpo.errors import UsageError
from hpo.models.build import build_model

__all__ = ["Classifier", "SavedModel", "load_model"]


class Classifier(nn.Module):
    """A network together with the normalisation it was trained on.

    forward: images [N, C, H, W], float of 0..1 or uint8 of 0..255 -> logits [N, classes]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("std", std.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255.0
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


@dataclass(frozen=True)
class SavedModel:
    """`classifier` in evaluation mode on the CPU; `shape` (C, H, W) of its images; `about`: all of config.json."""

    classifier: Classifier
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    about: dict[str, Any]


def load_model(folder: Path, study: str) -> SavedModel:
    """The model in `folder`. UsageError where its files are missing, damaged or not of one another."""
    weights, description = folder / "model.safetensors", folder / "config.json"
    missing = [path.name for path in (weights, description) if not path.is_file()]
    if missing:
        raise UsageError(
            f"{folder} has no {' and no '.join(missing)}",
            evidence=["`hpo evaluate` writes them: it retrains the best configurations and saves the winner"],
            next=f"`hpo evaluate --study {study}`, or say with --model where the winner's folder is",
        )
    try:
        about = json.loads(description.read_text(encoding="utf-8"))
        channels, height, width = about["shape"]
        sys.path += [path for path in about.get("sys_path", ()) if path not in sys.path]  # last: none hides ours
        network = build_model(about["model"], (channels, height, width), len(about["classes"]), about["parameters"])
        network.load_state_dict(load_file(weights))
        mean, std = torch.tensor(about["mean"]), torch.tensor(about["std"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        said = str(error).strip().splitlines()
        raise UsageError(
            f"{folder} does not hold a model that can be loaded",
            evidence=[f"{type(error).__name__}: {said[0] if said else ''}"],
            next=f"`hpo evaluate --study {study}` writes it again",
        ) from error
    classifier = Classifier(network, mean, std).eval()
    return SavedModel(classifier, (channels, height, width), tuple(about["classes"]), about)
