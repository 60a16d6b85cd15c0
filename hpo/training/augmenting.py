"""The recipe's augmentation settings as the function that a step calls; without any, nothing is called."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from hpo.data.augment import Augment, mixup
from hpo.data.image_set import ImageSet
from hpo.data.tensor_set import TensorSet
from hpo.training.configuration import Recipe
from hpo.training.step import Batch, Mixup

__all__ = ["laid_out", "mixer", "training_batch"]


def training_batch(images: ImageSet | TensorSet, recipe: Recipe, generator: Generator) -> Batch:
    """Gather, augment and normalise one batch, in the memory format of the recipe."""
    augment = Augment(recipe.crop_padding, recipe.flip, recipe.rotation, recipe.cutout)
    if not augment or isinstance(images, TensorSet):
        return laid_out(images, recipe)

    def batch(index: Tensor) -> tuple[Tensor, Tensor]:
        pixels, labels = images.raw(index)
        moved = images.normalise(augment.move(pixels, generator))
        return augment.cover(moved, generator), labels

    return _channels_last(batch) if recipe.channels_last else batch


def laid_out(images: ImageSet | TensorSet, recipe: Recipe) -> Batch:
    """Batches for evaluation: not augmented, in the memory format of the recipe."""
    if isinstance(images, TensorSet):
        return images.batch
    return _channels_last(images.batch) if recipe.channels_last else images.batch


def mixer(recipe: Recipe, generator: Generator) -> Mixup | None:
    if recipe.mixup_alpha <= 0:
        return None

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mixed, others, share = mixup(images, labels, recipe.mixup_alpha, generator)
        return mixed, others, share

    return mix


def _channels_last(batch: Batch) -> Batch:
    def arranged(index: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = batch(index)
        return images.to(memory_format=torch.channels_last), labels

    return arranged
