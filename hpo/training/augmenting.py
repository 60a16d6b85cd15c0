"""The recipe's augmentation settings as the function that a step calls; without any, nothing is called."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Generator, Tensor

from hpo.data.augment import AlternatingFlip, Augment, cutmix, mixup
from hpo.data.image_set import ImageSet
from hpo.data.streamed_set import ReadAhead, StreamedSet
from hpo.data.tensor_set import TensorSet
from hpo.training.configuration import Recipe
from hpo.training.step import Batch, Mixup

__all__ = ["laid_out", "mixer", "training_batch"]


def training_batch(
    images: ImageSet | TensorSet | StreamedSet,
    recipe: Recipe,
    generator: Generator,
    flips: AlternatingFlip | None = None,
) -> Batch:
    """Gather, augment and normalise one batch, in the memory format of the recipe.

    flips: in place of the recipe's random flip
    """
    augment = Augment(**{field.name: getattr(recipe, field.name) for field in fields(Augment)})
    if flips is not None:
        augment = replace(augment, flip=False)
    if isinstance(images, StreamedSet):
        return ReadAhead(images, recipe.batch_size, training=True)
    if isinstance(images, TensorSet) or not (augment or flips):
        return laid_out(images, recipe)

    if images.labels.ndim == 3 and images.labels.dtype == torch.uint8:
        return _with_masks(
            images, replace(Augment(), crop_padding=recipe.crop_padding, flip=recipe.flip), recipe, generator
        )

    def batch(index: Tensor) -> tuple[Tensor, Tensor]:
        pixels, labels = images.raw(index)
        if flips is not None:
            pixels = flips(pixels, index)
        moved = images.normalise(augment.move(pixels, generator))
        return augment.cover(moved, generator), labels

    return _channels_last(batch) if recipe.channels_last else batch


def _with_masks(images: ImageSet, augment: Augment, recipe: Recipe, generator: Generator) -> Batch:
    """Batches whose masks are cropped and flipped with their images, as one more channel.

    A crop fills in zeros. Classes are therefore counted from 1 on the way, so that what is filled in does not count.
    """

    def batch(index: Tensor) -> tuple[Tensor, Tensor]:
        pixels, masks = images.raw(index)
        together = torch.cat([pixels, (masks + 1).to(torch.uint8).unsqueeze(1)], dim=1)  # IGNORED, 255, becomes 0
        moved = augment.move(together, generator)
        return images.normalise(moved[:, :-1]), (moved[:, -1] - 1).long()  # uint8: 0 becomes 255 again

    return _channels_last(batch) if recipe.channels_last else batch


def laid_out(images: ImageSet | TensorSet | StreamedSet, recipe: Recipe) -> Batch:
    """Batches for evaluation: not augmented, in the memory format of the recipe."""
    if isinstance(images, StreamedSet):
        return ReadAhead(images, recipe.batch_size)
    if isinstance(images, TensorSet):
        return images.batch
    return _channels_last(images.batch) if recipe.channels_last else images.batch


def mixer(recipe: Recipe, generator: Generator) -> Mixup | None:
    """mixup or CutMix of a batch; with both, one of them for each batch, as likely as the other."""
    if not recipe.mixes:
        return None

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not recipe.cutmix_alpha:
            return mixup(images, labels, recipe.mixup_alpha, generator)
        cut, others, own = cutmix(images, labels, recipe.cutmix_alpha, generator)
        if not recipe.mixup_alpha:
            return cut, others, own
        mixed, _, share = mixup(images, labels, recipe.mixup_alpha, generator)
        first = (
            torch.rand((), generator=generator, device=images.device) < 0.5
        )  # no host decides it (hpo.training.graphs)
        return torch.where(first, cut, mixed), others, torch.where(first, own, share)

    return mix


def _channels_last(batch: Batch) -> Batch:
    def arranged(index: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = batch(index)
        return images.to(memory_format=torch.channels_last), labels

    return arranged
