"""Structured pruning of a saved model: remove whole channels, fine-tune the rest, and measure both side by side.

It removes the channels of least L2 norm and everything that depends on them (torch-pruning, the extra `compress`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import nn

from hpo.data.files import Folders
from hpo.data.image_set import ImageSet
from hpo.errors import UsageError
from hpo.inference.model import Classifier, SavedModel
from hpo.messages import Job
from hpo.models.build import count_macs, count_parameters, size_bytes
from hpo.settings import Settings
from hpo.training.augmenting import laid_out
from hpo.training.configuration import Recipe
from hpo.training.device import open_device
from hpo.training.fast_paths import use_settings
from hpo.training.scoring import latencies_ms, score_test
from hpo.training.tasks import task_of
from hpo.training.train_state import TrainState
from hpo.training.train_val_split import DataCache

__all__ = ["Compressed", "Measured", "compress"]

LR_SHARE = 0.1
"""The share of the model's learning rate at which fine-tuning starts; a cosine takes it to zero."""


@dataclass(frozen=True)
class Measured:
    """A network on the test split: accuracy, multiply-accumulates per image, median milliseconds for a single image."""

    test_accuracy: float
    parameters: int
    macs: int
    size_bytes: int
    latency_ms: float


@dataclass(frozen=True)
class Compressed:
    """pruned_accuracy: on the test split after pruning, before any training."""

    model: SavedModel
    before: Measured
    pruned_accuracy: float
    after: Measured
    epochs: int


def compress(
    saved: SavedModel,
    job: Job,
    ratio: float,
    epochs: int,
    device_name: str,
    settings: Settings,
    on_epoch: Callable[[int, float, float], None],
) -> Compressed:
    """Remove `ratio` of the channels of every layer, then train for `epochs` as the model was trained.

    job:      the winner's configuration in phase "final", so that it trains on all images of the train split
    on_epoch: called with (epoch from 1, train loss, train accuracy)
    Raises UsageError for a ratio outside (0, 1) or one that removes nothing, and where torch-pruning is missing.
    """
    if not 0 < ratio < 1:
        raise UsageError(f"--ratio {ratio:g} must lie between 0 and 1")
    if epochs < 0:
        raise UsageError(f"--epochs {epochs} must be at least 0")
    _ = saved.image_shape  # UsageError for a model of other inputs
    if task_of(job) != "classification":
        raise UsageError(f"hpo compress measures accuracy, and this model's task is {task_of(job)}")
    recipe = replace(
        Recipe.read(job.config, job.parts),
        lr=LR_SHARE * Recipe.read(job.config, job.parts).lr,
        schedule="cosine",
        freeze_epochs=0,
    )
    job = replace(job, protocol=replace(job.protocol, epochs=max(epochs, 1)))
    use_settings(settings)
    device = open_device(device_name)
    data = DataCache(Folders(settings.data_dir or settings.home / "data", settings.home / "cache"), device)
    parts = data.parts(job)
    test = data.test(job, parts.images)
    assert isinstance(test, ImageSet)
    assert isinstance(saved.classifier, Classifier)
    original = _to(saved.classifier.network, recipe, device)
    pruned = _to(_pruned(saved, ratio), recipe, device)
    pruned_accuracy = _accuracy(pruned, test, recipe, device)
    state = TrainState(job, recipe, parts, device, fold=0, network=pruned)
    for epoch in range(epochs):
        on_epoch(epoch + 1, *_train(state, epoch))
    state.adopt_average()
    before, after = _measure([original, pruned], saved, test, recipe, device)
    whole = saved.classifier
    classifier = Classifier(pruned.cpu(), whole.mean, whole.std, mirrored=whole.mirrored).eval()
    return Compressed(replace(saved, classifier=classifier), before, pruned_accuracy, after, epochs)


def _pruned(saved: SavedModel, ratio: float) -> nn.Module:
    """A copy of the network without the channels of least norm; all outputs, one per class, stay."""
    pruning = _torch_pruning()
    network = copy.deepcopy(saved.classifier.network).eval()
    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    before = count_parameters(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about every parameter that it leaves alone
        pruner = pruning.pruner.BasePruner(
            network,
            torch.randn(2, *saved.image_shape),
            importance=pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            ignored_layers=layers[-1:],
        )
        pruner.step()
    if count_parameters(network) == before:
        raise UsageError(
            f"--ratio {ratio:g} removes no channel from {saved.about['model']}",
            next="give a larger ratio; a model with a single layer has none to remove",
        )
    return network


def _torch_pruning() -> ModuleType:
    try:
        import torch_pruning
    except ImportError as error:
        raise UsageError(
            "hpo compress needs torch-pruning, which is not installed", next="pip install torch-pruning"
        ) from error
    module: ModuleType = torch_pruning
    return module


def _to(network: nn.Module, recipe: Recipe, device: torch.device) -> nn.Module:
    network = network.to(device)
    return network.to(memory_format=torch.channels_last) if recipe.channels_last else network


def _train(state: TrainState, epoch: int) -> tuple[float, float]:
    """(loss, accuracy) over one epoch of training."""
    state.begin_epoch(epoch)
    batches = state.batches(epoch)
    for number, index in enumerate(batches):
        state.set_lr(epoch * len(batches) + number)
        state.step(index)
    loss, accuracy = state.step.running.read()
    state.step.running.reset()
    return loss, accuracy


def _accuracy(network: nn.Module, test: ImageSet, recipe: Recipe, device: torch.device) -> float:
    index = torch.arange(len(test), device=device)
    classes = int(test.labels.max()) + 1
    accuracy = score_test(network, laid_out(test, recipe), index, classes, recipe, device).accuracy
    assert accuracy is not None
    return accuracy


def _measure(
    networks: list[nn.Module], saved: SavedModel, test: ImageSet, recipe: Recipe, device: torch.device
) -> list[Measured]:
    image, _ = laid_out(test, recipe)(torch.zeros(1, dtype=torch.int64, device=device))
    latencies = latencies_ms(networks, image, recipe, device)
    return [
        Measured(
            test_accuracy=_accuracy(network, test, recipe, device),
            parameters=count_parameters(network),
            macs=count_macs(network, saved.image_shape),
            size_bytes=size_bytes(network),
            latency_ms=latency,
        )
        for network, (latency, _) in zip(networks, latencies, strict=True)
    ]
