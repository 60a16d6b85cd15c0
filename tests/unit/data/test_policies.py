"""RandAugment, TrivialAugment, colour jitter, erasing and CutMix equal torchvision's, image by image and in
distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numerics import FALSE_ALARM
from scipy import stats
from torch import Generator, Tensor
from torchvision.transforms import (
    ColorJitter,
    InterpolationMode,
    RandAugment,
    RandomErasing,
    TrivialAugmentWide,
    autoaugment,
    v2,
)
from torchvision.transforms import functional as reference

from hpo.data import colours
from hpo.data.augment import AlternatingFlip, Augment, both_ways, cutmix, erase, random_erasing
from hpo.data.policies import BINS, OPERATIONS, apply, color_jitter, magnitudes, rand_augment, trivial_augment

pytestmark = pytest.mark.numeric

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 9, 14)]
CPU = torch.device("cpu")


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(3)


def pictures(shape: tuple[int, int, int], count: int = 16) -> Tensor:
    """Noise over wide bands of colour, a black image and a grey one."""
    random = Generator().manual_seed(1)
    bands = torch.nn.functional.interpolate(torch.rand(count, shape[0], 3, 3, generator=random), shape[1:])
    images = (200 * bands + 55 * torch.rand(count, *shape, generator=random)).to(torch.uint8)
    images[0], images[1] = 0, 77
    return images


def each(images: Tensor, function: Callable[..., Tensor], *values: list[float]) -> Tensor:
    if not values:
        return torch.stack([function(image) for image in images])
    return torch.stack([function(image, *given) for image, *given in zip(images, *values, strict=True)])


FACTORS = [number / 8 for number in range(16)]  # exact in float32, and so is what each leaves of 1
COLOURS: dict[str, tuple[list[float], Callable[..., Tensor]]] = {
    "brightness": (FACTORS, reference.adjust_brightness),
    "contrast": (FACTORS, reference.adjust_contrast),
    "saturation": (FACTORS, reference.adjust_saturation),
    "sharpness": (FACTORS, reference.adjust_sharpness),
    "posterize": (
        [float(1 + number % 8) for number in range(16)],
        lambda image, bits: reference.posterize(image, int(bits)),
    ),
    "solarize": ([float(16 * number) for number in range(16)], reference.solarize),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", COLOURS)
def test_colours_change_as_torchvision_changes_them(name: str, shape: tuple[int, int, int]) -> None:
    """For the same value every pixel is the same."""
    images, (values, function) = pictures(shape), COLOURS[name]
    changed = getattr(colours, name)(images, torch.tensor(values))
    assert torch.equal(changed, each(images, function, values))
    assert not torch.equal(changed, images) or (name, shape[0]) == ("saturation", 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_spread_as_torchvision_spreads_them(shape: tuple[int, int, int]) -> None:
    """autocontrast and equalize: every pixel is the same, also in images of one colour."""
    images = pictures(shape)
    assert torch.equal(colours.autocontrast(images), each(images, reference.autocontrast))
    assert torch.equal(colours.equalize(images), each(images, reference.equalize))


@pytest.mark.parametrize("shape", SHAPES)
def test_hues_turn_as_torchvision_turns_them(shape: tuple[int, int, int]) -> None:
    """Within one of 255 steps: where a value lies on the border between two, rounding decides."""
    images, shifts = pictures(shape), [number / 16 - 0.5 for number in range(16)]
    turned, expected = colours.hue(images, torch.tensor(shifts)), each(images, reference.adjust_hue, shifts)
    apart = (turned.int() - expected.int()).abs()
    assert apart.max() <= 1
    assert apart.double().mean() < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=OPERATIONS)
def test_each_operation_is_torchvisions(number: int, shape: tuple[int, int, int]) -> None:
    """By its name and value, to a few pixels: those whose source lies between two, or whose value does."""
    images = pictures(shape)
    table = magnitudes(False, *shape[1:], CPU)
    places = torch.arange(16) * 2 % BINS
    signs = 1 - 2 * (torch.arange(16) % 2) if 1 <= number <= 9 else torch.ones(16)
    values = table[number, places] * signs
    changed = apply(images, torch.full((16,), number), values)
    expected = torch.stack([
        autoaugment._apply_op(image, OPERATIONS[number], float(value), InterpolationMode.NEAREST, None)
        for image, value in zip(images, values, strict=True)
    ])  # fmt: skip
    few = 0.01 if number <= 5 else 0.0
    apart = (changed.int() - expected.int()).abs()
    assert (apart > 1).double().mean() <= few
    assert (apart > 0).double().mean() <= few
    too_few = OPERATIONS[number] == "Equalize" and shape == (3, 9, 14)  # pixels, for steps of a 255th
    same = number == 0 or too_few or (OPERATIONS[number], shape[0]) == ("Color", 1)
    assert torch.equal(changed, images) is same


@pytest.mark.parametrize("wide", [False, True])
def test_strengths_are_torchvisions(wide: bool) -> None:
    """The table of each operation, at each of 31 places."""
    given: Any = TrivialAugmentWide() if wide else RandAugment()
    table = given._augmentation_space(BINS) if wide else given._augmentation_space(BINS, (28, 20))
    assert tuple(table) == OPERATIONS
    found = magnitudes(wide, 28, 20, CPU)
    for number, (values, signed) in enumerate(table.values()):
        assert torch.equal(found[number], values.to(torch.float32).expand(BINS))
        assert signed is (1 <= number <= 9)


def distances(images: Tensor, original: Tensor) -> np.ndarray[Any, Any]:
    """How far each image is from the one it was made of: the mean over its pixels, which tells operations apart."""
    found: np.ndarray[Any, Any] = (images.double() - original.double()).abs().mean((1, 2, 3)).numpy()
    return found


POLICIES: dict[str, tuple[Callable[[Tensor, Generator], Tensor], Callable[[Tensor], Tensor]]] = {
    "RandAugment": (lambda images, generator: rand_augment(images, 2, 9, generator), RandAugment(2, 9)),
    "TrivialAugment": (trivial_augment, TrivialAugmentWide()),
    "ColorJitter": (
        lambda images, generator: color_jitter(
            images, {"brightness": 0.4, "contrast": 0.3, "saturation": 0.8, "hue": 0.1}, generator
        ),
        ColorJitter(0.4, 0.3, 0.8, 0.1),
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_policies_draw_as_torchvisions(name: str, generator: Generator) -> None:
    """Over 400 images of each, what became of them has the same distribution."""
    batched, single = POLICIES[name]
    originals = pictures((3, 12, 16), 8)[2:3].expand(400, -1, -1, -1)
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        expected = torch.stack([single(image) for image in originals])
    found = batched(originals, generator)
    assert found.dtype == torch.uint8
    result = stats.ks_2samp(distances(found, originals), distances(expected, originals))
    assert result.pvalue > FALSE_ALARM


def test_every_operation_is_drawn_as_often(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """14 operations, 31 strengths, and either sign."""
    drawn: list[tuple[Tensor, Tensor]] = []

    def noted(images: Tensor, operation: Tensor, values: Tensor) -> Tensor:
        drawn.append((operation, values))
        return images

    monkeypatch.setattr("hpo.data.policies.apply", noted)
    trivial_augment(torch.zeros(9000, 1, 28, 28, dtype=torch.uint8), generator)
    operation, values = drawn[0]
    assert stats.chisquare(operation.bincount(minlength=14).numpy()).pvalue > FALSE_ALARM
    turns = (values[operation == 5] / 4.5).round().long()
    counts = (turns + 30).bincount(minlength=61)
    assert stats.chisquare(counts.numpy(), np.where(np.arange(61) == 30, 2, 1) / 62 * len(turns)).pvalue > FALSE_ALARM


def test_colour_jitter_takes_its_steps_in_any_order(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each order of two steps is as likely as the other, and each factor uniform."""
    seen: list[Tensor] = []
    monkeypatch.setattr(colours, "brightness", lambda images, factors: seen.append(factors) or images + 1)
    monkeypatch.setattr(colours, "contrast", lambda images, factors: images * 2)
    images = torch.ones(4000, 1, 1, 1, dtype=torch.uint8)
    jittered = color_jitter(images, {"brightness": 0.4, "contrast": 0.4}, generator).flatten()
    assert set(jittered.tolist()) == {3, 4}
    assert stats.binomtest(int((jittered == 3).sum()), 4000, 0.5).pvalue > FALSE_ALARM
    assert stats.kstest(torch.cat(seen).numpy(), stats.uniform(0.6, 0.8).cdf).pvalue > FALSE_ALARM


def test_erase_is_torchvisions_erase(generator: Generator) -> None:
    """A rectangle of each image becomes zero; one without height changes nothing."""
    images = torch.randn(4, 3, 12, 16, generator=generator)
    boxes = torch.tensor([[0, 0, 3, 5], [4, 7, 8, 9], [11, 15, 1, 1], [2, 2, 0, 4]])
    expected = torch.stack([
        reference.erase(image, *box, torch.tensor(0.0)) for image, box in zip(images, boxes.tolist(), strict=True)
    ])  # fmt: skip
    assert torch.equal(erase(images, *boxes.unbind(1)), expected)


@pytest.mark.parametrize("size", [(32, 32), (8, 30)])
def test_rectangles_are_erased_as_torchvisions(size: tuple[int, int], generator: Generator) -> None:
    """How large they are, where they begin, and how many images have one."""
    images = torch.ones(3000, 1, *size)
    found = random_erasing(images, 0.6, generator)[:, 0] == 0
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        boxes = [RandomErasing.get_params(images[0], (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(1500)]
    has = found.flatten(1).any(1)
    kept = np.array([box for box in boxes if box[2:] != size])
    assert stats.binomtest(int(has.sum()), 3000, 0.6 * len(kept) / 1500).pvalue > FALSE_ALARM / 10
    rows, columns = found[has].any(2), found[has].any(1)
    for measured, expected in (
        (rows.sum(1), kept[:, 2]),
        (columns.sum(1), kept[:, 3]),
        (rows.to(torch.uint8).argmax(1), kept[:, 0]),
        (columns.to(torch.uint8).argmax(1), kept[:, 1]),
    ):
        assert stats.ks_2samp(measured.numpy(), expected).pvalue > FALSE_ALARM


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_cutmix_is_torchvisions(alpha: float, generator: Generator) -> None:
    """One rectangle comes from the image before, the share is that of the rest, and both are as often as there."""
    images, labels = torch.arange(1.0, 5.0).view(4, 1, 1, 1).expand(4, 2, 24, 32).clone(), torch.arange(4)
    shares, tops = [], []
    for _ in range(500):
        mixed, others, share = cutmix(images, labels, alpha, generator)
        foreign = mixed != images
        assert torch.equal(mixed, torch.where(foreign, images.roll(1, 0), images))
        assert foreign.eq(foreign[:1, :1]).all()
        assert float(share) == pytest.approx(1 - foreign[0, 0].double().mean().item())
        assert others.tolist() == [3, 0, 1, 2]
        shares.append(float(share))
        tops.append(int(foreign[0, 0].any(1).to(torch.uint8).argmax()))
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        given = [v2.CutMix(alpha=alpha, num_classes=4).make_params([images]) for _ in range(500)]
    assert stats.ks_2samp(shares, [one["lam_adjusted"] for one in given]).pvalue > FALSE_ALARM
    begun = [one["box"][1] if one["lam_adjusted"] < 1 else 0 for one in given]
    assert stats.ks_2samp(tops, begun).pvalue > FALSE_ALARM


def test_each_image_is_mirrored_in_every_second_epoch() -> None:
    """About half begin mirrored; which, the generator says alone."""
    images = pictures((1, 4, 6), 1000)
    flips, index = AlternatingFlip(1000, Generator().manual_seed(1), CPU), torch.arange(1000)
    first = flips(images, index)
    mirrored = (first == images.flip(3)).flatten(1).all(1)
    assert stats.binomtest(int(mirrored[2:].sum()), 998, 0.5).pvalue > FALSE_ALARM
    flips.begin_epoch(1)
    assert torch.equal(flips(images, index), first.flip(3))
    flips.begin_epoch(2)
    assert torch.equal(flips(images, index), first)
    assert torch.equal(flips(images[7:9], index[7:9]), first[7:9])


def test_outputs_both_ways_are_the_mean() -> None:
    """Of logits as they are, of maps turned back."""
    images = torch.randn(2, 3, 4, 5)
    assert torch.allclose(both_ways(lambda given: given)(images), images)
    pooled = both_ways(lambda given: given[..., 0].flatten(1))(images)
    assert torch.allclose(pooled, (images[..., 0] + images[..., -1]).flatten(1) / 2)


def test_new_augmentation_depends_on_the_generator_alone() -> None:
    """Equal generators give equal batches; torch's global generator stays out, and no image depends on another."""
    augment = Augment(brightness=0.4, hue=0.1, trivial_augment=True, randaugment=2, random_erasing=0.5)
    images = pictures((3, 32, 32))
    before = torch.get_rng_state()
    first, again = Generator().manual_seed(1), Generator().manual_seed(1)
    one = augment.cover(augment.move(images, first).float(), first)
    assert torch.equal(one, augment.cover(augment.move(images, again).float(), again))
    assert not torch.equal(one, augment.cover(augment.move(images, again).float(), again))
    assert torch.equal(before, torch.get_rng_state())
    others = torch.cat([images[:1], images[1:].flip(1)])
    assert torch.equal(
        augment.move(images, Generator().manual_seed(2))[0], augment.move(others, Generator().manual_seed(2))[0]
    )
    assert not Augment(randaugment_magnitude=3)
