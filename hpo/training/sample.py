"""What a network will see, for `hpo check`: a picture of a few images before and after augmentation, or a few rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from hpo.atomic_file import write_atomically
from hpo.data.image_set import ImageSet
from hpo.data.samples import named
from hpo.data.streamed_set import StreamedSet
from hpo.messages import Job
from hpo.training.augmenting import mixer, training_batch
from hpo.training.configuration import Recipe
from hpo.training.tasks import task_of
from hpo.training.train_val_split import TrainValSplit

__all__ = ["sample"]

SHOWN, NUMBERS = 8, 6
"""Samples that are shown, and numbers of a row."""

SIDE, LINE = 96, 14
"""Pixels: smaller images are enlarged to about this, and the height of a line of words."""


def sample(job: Job, parts: TrainValSplit, path: Path) -> dict[str, Any]:
    """{"png": path, "images": how many} of images, which are drawn into that file; {"rows": lines} of other inputs.

    Images are those of the train part, the first of each class, in `job.config`'s augmentation. {"note": why} where the
    file cannot be written.
    """
    index, labels = _chosen(parts)
    names = _names(job, labels)
    images = parts.images
    if isinstance(images, ImageSet) or (isinstance(images, StreamedSet) and _is_image(job)):
        before, after = _pictures(job, images, index)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _png(before, after, names))
        except OSError as error:
            return {"note": f"no picture of a sample: {error.strerror or error} in {path.parent}"}
        return {"png": str(path), "images": len(index)}
    inputs, _ = images.batch(index)
    return {"rows": [_row(inputs, at, name) for at, name in enumerate(names)]}


def _chosen(parts: TrainValSplit) -> tuple[Tensor, Tensor]:
    """(indices of the samples to show int64 [n], their targets): the first of each class, else spread over all."""
    targets = parts.images.labels[parts.train]
    spread = torch.linspace(0, len(parts.train) - 1, min(SHOWN, len(parts.train))).long().unique().tolist()
    if targets.ndim == 1 and not targets.is_floating_point():
        firsts = [int((targets == label).nonzero()[0, 0]) for label in targets.unique()[:SHOWN]]
        spread = list(dict.fromkeys([*firsts, *spread]))[:SHOWN]
    at = torch.tensor(spread, device=targets.device)
    return parts.train[at], targets[at].cpu()


def _names(job: Job, targets: Tensor) -> list[str]:
    classes = list(job.dataset["classes"])
    if task_of(job) == "classification":
        return [str(classes[int(target)]) for target in targets]
    few = targets.flatten(1) if targets.ndim > 1 else targets[:, None]
    if few.shape[1] > len(classes):
        return [""] * len(targets)
    return [", ".join(f"{value:.4g}" for value in row.tolist()) for row in few]


def _is_image(job: Job) -> bool:
    shape = job.dataset["shape"]
    return isinstance(shape, Sequence) and len(shape) == 3 and shape[0] in (1, 3)


def _pictures(job: Job, images: ImageSet | StreamedSet, index: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 [n, C, H, W] as scoring sees them, and as training does."""
    recipe = Recipe.read(job.config, job.parts)
    recipe = replace(recipe, flip=recipe.flip or recipe.alternating_flip, channels_last=False)
    generator = torch.Generator(index.device).manual_seed(job.seed)
    before, targets = images.batch(index)
    after, _ = training_batch(images, recipe, generator)(index)
    mix = mixer(recipe, generator)
    if mix is not None:
        after = mix(after, targets)[0]
    if isinstance(images, ImageSet):
        mean, std = (value.view(1, -1, 1, 1) for value in (images.mean, images.std))
        return _as_bytes(before * std + mean), _as_bytes(after * std + mean)
    low, high = torch.aminmax(before)
    return _as_bytes((before - low) / (high - low)), _as_bytes((after - low) / (high - low))


def _as_bytes(images: Tensor) -> Tensor:
    """From 0..1."""
    return (255 * images.float()).round().clamp(0, 255).nan_to_num().to(torch.uint8).cpu()


def _png(before: Tensor, after: Tensor, names: Sequence[str]) -> bytes:
    """One column for each image: its class, the image, and the image after augmentation."""
    height, width = before.shape[2:]
    times = max(1, round(SIDE / max(height, width)))
    wide, high = width * times, height * times
    sheet = Image.new("RGB", (len(names) * (wide + 4) + 4, 2 * (high + LINE + 4) + LINE), "white")
    draw = ImageDraw.Draw(sheet)
    for at, name in enumerate(names):
        left = 4 + at * (wide + 4)
        draw.text((left, 1), name[: max(4, wide // 6)], fill="black")
        for row, images in enumerate((before, after)):
            pixels = images[at].expand(3, -1, -1) if images.shape[1] != 3 else images[at]
            picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
            sheet.paste(picture.resize((wide, high), Image.Resampling.NEAREST), (left, LINE + row * (high + LINE + 4)))
    draw.text((4, LINE + high + 2), "after augmentation", fill="black")
    target = io.BytesIO()
    sheet.save(target, "PNG")
    return target.getvalue()


def _row(inputs: Any, at: int, name: str) -> str:
    shown = []
    for key, value in named(inputs).items():
        numbers = [f"{number:.4g}" for number in value[at].flatten()[:NUMBERS].tolist()]
        more = ", ..." if value[at].numel() > NUMBERS else ""
        shown.append(f"{'' if key == 'inputs' else f'{key} '}{', '.join(numbers)}{more}")
    return f"{'; '.join(shown)}   ->   {name}"
