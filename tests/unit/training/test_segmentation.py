"""Masks: the loss and the scores of pixels, augmentation that moves both, and what the test split shows."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn import metrics as sklearns
from torch.nn import functional as F

from hpo.data.image_set import ImageSet
from hpo.data.mask_colours import UNCOUNTED, colour_of
from hpo.data.shapes import drawn
from hpo.models.build import build_model
from hpo.training.augmenting import training_batch
from hpo.training.configuration import Recipe
from hpo.training.final import score_final
from hpo.training.resampling import spread_of
from hpo.training.segmentation import MeanIoU, PixelAccuracy, class_ious, mean_iou, pixel_counts, pixel_loss
from hpo.training.test_details import picture

pytestmark = pytest.mark.numeric


@pytest.fixture
def scored() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [6, 4, 5, 7] and masks of three of the four classes, with pixels that do not count."""
    logits, masks = torch.randn(6, 4, 5, 7), torch.randint(0, 3, (6, 5, 7))
    masks[torch.rand(masks.shape) < 0.2] = 255
    logits[:, 3] -= 100.0  # nowhere
    return logits, masks


@pytest.mark.parametrize("options", [{}, {"weight": torch.tensor([0.5, 1.0, 2.0, 4.0])}, {"label_smoothing": 0.2}])
def test_the_loss_is_torch_s_over_the_pixels_that_count(scored: Any, options: dict[str, Any]) -> None:
    logits, masks = scored
    expected = F.cross_entropy(logits, masks, ignore_index=255, **options)
    assert float(pixel_loss(logits, masks, **options)) == pytest.approx(float(expected), rel=1e-5)


def test_a_batch_of_which_nothing_counts_has_no_loss() -> None:
    """torch's mean over no pixel is NaN, which would end the trial as diverged."""
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = pixel_loss(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_scores_are_what_scikit_learn_computes(scored: Any) -> None:
    """A class that neither label nor prediction has anywhere is in no mean."""
    logits, masks = scored
    counted = masks != 255
    said = logits.argmax(1)[counted]
    ious = sklearns.jaccard_score(masks[counted], said, average=None)
    found = class_ious(pixel_counts(logits, masks).sum(0))
    assert found[:3].tolist() == pytest.approx(ious)
    assert torch.isnan(found[3])
    for metric, expected in (
        (MeanIoU(), ious.mean()),
        (PixelAccuracy(), float((said == masks[counted]).float().mean())),
    ):
        metric.update(logits[:2], masks[:2])
        metric.update(logits[2:], masks[2:])
        assert metric.compute() == pytest.approx(expected)


def test_a_mask_moves_with_its_image() -> None:
    """The image of a mask's own numbers stays equal to it; what a crop fills in does not count."""
    masks = torch.randint(0, 3, (40, 6, 6), dtype=torch.uint8)
    images = ImageSet((masks + 1).unsqueeze(1) * 20, masks, torch.zeros(1), torch.ones(1))
    recipe = Recipe.read({"batch_size": 4, "lr": 0.1, "crop_padding": 2, "flip": True})
    pixels, moved = training_batch(images, recipe, torch.Generator().manual_seed(0))(torch.arange(40))
    filled = pixels[:, 0] == 0
    assert filled.any()
    assert (moved[filled] == 255).all()
    assert torch.equal((pixels[:, 0] * 255 / 20).round().long()[~filled] - 1, moved[~filled])
    assert not torch.equal(moved, masks.long())


def test_the_test_split_has_classes_intervals_and_a_picture(make_job: Any, data: Any, device: torch.device) -> None:
    job = make_job(
        "perceptron",
        builder="task_data:pixelwise",
        dataset={"name": "masks", "loader": "task_data:masks", "shape": [1, 8, 8], "classes": ["dark", "bright"]},
        parts={"task": "segmentation", "metrics": {"val_iou": {"function": "hpo.training.segmentation:MeanIoU",
               "reads": {}, "direction": "maximize"}}},
        phase="final",
        protocol={"subset": None},
    )  # fmt: skip
    model = build_model("task_data:pixelwise", (1, 8, 8), 2, {})
    metrics, facts = score_final(job, Recipe.read(job.config, job.parts), model, data, device)
    assert metrics["test_iou"] == pytest.approx(sum(facts["per_class_iou"]) / 2)
    assert 0.0 < facts["test_spread"]["test_iou"] < 0.1
    assert len(facts["per_class_spread"]) == 2
    with Image.open(io.BytesIO(base64.b64decode(facts["picture"]))) as image:
        assert image.size == (4 * 100 - 4, 3 * 100 - 4)
        assert image.getpixel((2, 102)) == UNCOUNTED


def test_a_picture_shows_image_mask_and_prediction() -> None:
    images, masks = drawn(2, 0)
    shown = picture(images, masks, torch.ones_like(masks))
    with Image.open(io.BytesIO(base64.b64decode(shown))) as image:
        assert image.getpixel((50, 250)) == colour_of(1)
        assert image.getpixel((1, 1)) == (int(images[0, 0, 0, 0]),) * 3


def test_the_spread_is_that_of_the_mean() -> None:
    """Of a mean the bootstrap finds what theory says; a score that fails or is slow has none."""
    values = torch.randn(500)
    cpu = torch.device("cpu")
    theory = float(values.std()) / 500**0.5
    assert spread_of(lambda index: values[index].mean(), 500, cpu) == pytest.approx(theory, rel=0.2)
    assert spread_of(lambda index: float("nan"), 500, cpu) is None
    assert spread_of(lambda index: 1 / 0, 500, cpu) is None
    counts = pixel_counts(torch.randn(30, 3, 4, 4), torch.randint(0, 3, (30, 4, 4)))
    assert spread_of(lambda index: mean_iou(counts[index].sum(0)), 30, cpu) is not None


@pytest.mark.parametrize("size", [(32, 32), (17, 30)])
def test_a_unet_keeps_the_size_of_the_image(size: tuple[int, int]) -> None:
    network = build_model("hpo.models.unet:unet", (1, *size), 3, {"width": 4, "depth": 3})
    assert network(torch.randn(2, 1, *size)).shape == (2, 3, *size)


def test_the_shapes_are_the_same_every_time() -> None:
    images, masks = drawn(20, 1)
    again, _ = drawn(20, 1)
    assert torch.equal(images, again)
    assert set(masks.unique().tolist()) == {0, 1, 2, 255}
    assert images[:, 0][masks == 1].float().mean() > 2 * images[:, 0][masks == 0].float().mean()
