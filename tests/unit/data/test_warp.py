"""Elastic and affine distortion reads where it says, and draws what torchvision draws."""

from __future__ import annotations

import math

import pytest
import torch
from numerics import EPS, FALSE_ALARM, assert_as_exact
from scipy import stats
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as reference

from hpo.data.augment import Augment
from hpo.data.warp import affine_matrices, random_warp, roughness, warp

pytestmark = pytest.mark.numeric

SHAPES = [(1, 28, 28), (3, 20, 32)]


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(3)


def pictures(shape: tuple[int, int, int], count: int = 24) -> Tensor:
    return torch.randint(1, 256, (count, *shape), generator=Generator().manual_seed(1)).float()


def displacement(waves: Tensor, height: int, width: int) -> Tensor:
    """float64 [B, 2, H, W]: what waves [B, K, 2, L] say, pixels right and down, as `warp` documents it."""
    down, right = (
        torch.cos(math.pi * torch.arange(count).double()[:, None] * (torch.arange(size).double() + 0.5) / size)
        for count, size in ((waves.shape[1], height), (waves.shape[3], width))
    )
    return torch.einsum("bkcl,kh,lw->bchw", waves.double(), down, right)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_affine_part_is_torchvisions_affine(shape: tuple[int, int, int]) -> None:
    """Turned, scaled and slanted along both axes by given amounts, between pixels, with zeros outside."""
    images, parts = (
        pictures(shape),
        [torch.linspace(*ends, 24) for ends in ((-170, 180), (0.7, 1.3), (-20, 20), (9, -9))],
    )

    def theirs(dtype: torch.dtype) -> Tensor:
        bilinear = InterpolationMode.BILINEAR
        return torch.stack([
            reference.affine(image.to(dtype), turn, [0, 0], size, [right, down], bilinear)
            for image, turn, size, right, down in zip(images, *(part.tolist() for part in parts), strict=True)
        ])  # fmt: skip

    found = warp(images, affine_matrices(*parts), torch.zeros(24, 2))
    assert_as_exact({"images": found}, [{"images": theirs(torch.float32)}], {"images": theirs(torch.float64)})


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_is_read_at_place_shift_and_waves(shape: tuple[int, int, int], generator: Generator) -> None:
    """The sum that the docstring gives, in float64: up to what rounding a place by a few EPS of the width does."""
    _, height, width = shape
    images, waves = pictures(shape), torch.randn(24, 4, 2, 5, generator=generator)
    matrices, shift = (
        torch.eye(2) + torch.randn(24, 2, 2, generator=generator) / 9,
        torch.randn(24, 2, generator=generator),
    )
    down, right = torch.arange(height).double() - (height - 1) / 2, torch.arange(width).double() - (width - 1) / 2
    place = torch.stack([right.expand(height, width), down[:, None].expand(height, width)])
    places = torch.einsum("bij,jhw->bihw", matrices.double(), place) + shift.double()[:, :, None, None]
    places = (places + displacement(waves, height, width)) * 2 / torch.tensor([width, height]).view(1, 2, 1, 1)
    exact = F.grid_sample(images.double(), places.permute(0, 2, 3, 1), align_corners=False)
    found = warp(images, matrices, shift, waves)
    assert float((found - exact).abs().max()) < 256 * 64 * EPS * max(height, width)
    whole = warp(images.to(torch.uint8), matrices, shift, waves)
    assert whole.dtype == torch.uint8
    assert torch.equal(whole, found.round().to(torch.uint8))


def test_nothing_moves_by_nothing() -> None:
    """The identity, and whole pixels: no value between two is made up."""
    images = pictures((1, 28, 28)).to(torch.uint8)
    same, none = torch.eye(2).expand(24, 2, 2), torch.zeros(24, 2)
    assert torch.equal(warp(images, same, none), images)
    assert torch.equal(warp(images, same, none + 2)[:, :, :26, :26], images[:, :, 2:, 2:])


def drawn(monkeypatch: pytest.MonkeyPatch, count: int, generator: Generator, **settings: float) -> tuple[Tensor, ...]:
    """(matrices, shift, waves) that `random_warp` draws for `count` images of 28 x 28."""
    seen: list[tuple[Tensor, ...]] = []
    monkeypatch.setattr("hpo.data.warp.warp", lambda images, *given: seen.append(given))
    random_warp(torch.zeros(count, 1, 28, 28), generator, **settings)  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize("sigma", [2.0, 4.0])
def test_displacement_is_distributed_as_torchvisions(
    sigma: float, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ElasticTransform(alpha, sigma): at the centre and in a corner, along both axes, and how it changes over a few
    pixels. alpha is the one whose noise, blurred, has our root mean square away from the borders."""
    elastic, count, size = 1.5, 1500, 28
    waves = drawn(monkeypatch, count, generator, elastic=elastic, sigma=sigma)[2]
    ours = displacement(waves, size, size)
    inside = 1 / (2 * sigma * math.sqrt(math.pi))  # the blur's share of the variance of noise, for each axis
    mean = sum(math.exp(-((math.pi * wave * sigma / size) ** 2)) for wave in range(size)) / size
    alpha = 2 * elastic / (math.sqrt(1 / 3) * mean)  # uniform noise in -1..1, places in -1..1
    transform = v2.ElasticTransform(alpha=alpha, sigma=sigma)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        given = [transform.make_params([torch.zeros(1, size, size)])["displacement"] for _ in range(count)]
    theirs = torch.cat(given).permute(0, 3, 1, 2) * size / 2
    for look in (
        lambda field: field[:, 0, 14, 14],
        lambda field: field[:, 1, 14, 14],
        lambda field: field[:, 0, 1, 1],
        lambda field: field[:, 0, 14, 14] - field[:, 0, 14, 14 + round(sigma)],
        lambda field: field[:, 1, 14, 14] - field[:, 1, 14 - 2 * round(sigma), 14],
    ):
        assert stats.ks_2samp(look(ours).numpy(), look(theirs).numpy()).pvalue > FALSE_ALARM
    # The square of a mean square over 1500 fields with a dozen or more independent places each
    assert float(ours.square().mean().sqrt()) == pytest.approx(elastic, rel=0.05)
    at_centre = float(ours[:, :, 14, 14].square().mean().sqrt())
    assert at_centre == pytest.approx(elastic * inside / mean, rel=0.1)


def test_waves_end_where_nothing_is_left_of_them() -> None:
    """Smooth ones are few, rough ones as many as pixels; blurred over the whole image, one shift is left."""
    device = torch.device("cpu")
    assert [len(roughness(28, sigma, device)) for sigma in (1.0, 4.0, 100.0)] == [27, 7, 1]
    for sigma in (1.0, 4.0, 100.0):
        assert float(roughness(28, sigma, device)[0]) <= 1.0


def test_angles_sizes_and_shifts_are_uniform(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """RandomAffine's: within -rotation..rotation, 1 - zoom..1 + zoom, -shear..shear; RandomCrop's whole pixels."""
    given: list[tuple[Tensor, ...]] = []
    keep = affine_matrices
    monkeypatch.setattr("hpo.data.warp.affine_matrices", lambda *values: (given.append(values), keep(*values))[1])
    matrices, shift, waves = drawn(monkeypatch, 5000, generator, rotation=15.0, zoom=0.2, shear=8.0, padding=2)
    assert waves is None
    for values, low, high in zip(given[0], (-15.0, 0.8, -8.0, -8.0), (15.0, 1.2, 8.0, 8.0), strict=True):
        assert stats.kstest(values.numpy(), stats.uniform(low, high - low).cdf).pvalue > FALSE_ALARM
    pairs = [stats.pearsonr(given[0][0].numpy(), other.numpy()).pvalue for other in given[0][1:]]
    assert min(pairs) > FALSE_ALARM
    moved = torch.linalg.solve(matrices, shift.unsqueeze(2)).squeeze(2)
    assert torch.allclose(moved, moved.round(), atol=1e-4)
    counts = torch.bincount((5 * moved[:, 0] + moved[:, 1] + 12).round().long(), minlength=25)
    assert len(counts) == 25
    assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


def test_distortion_depends_on_the_generator_alone() -> None:
    """Equal generators give equal batches, each image its own; the type stays, and other rows are read along."""
    augment = Augment(rotation=10.0, crop_padding=2, elastic=1.5, zoom=0.1, shear=5.0)
    images = pictures((3, 32, 32)).to(torch.uint8)
    before = torch.get_rng_state()
    one = augment.move(images, Generator().manual_seed(1))
    assert torch.equal(one, augment.move(images, Generator().manual_seed(1)))
    assert torch.equal(before, torch.get_rng_state())
    assert one.dtype == torch.uint8
    alike = augment.move(images[:1].expand(24, -1, -1, -1), Generator().manual_seed(1))
    assert torch.equal(alike[0], one[0])
    assert len({image.numpy().tobytes() for image in alike}) == 24
    for row in ({"rotation": 0.0}, {"crop_padding": 0}, {"elastic_sigma": 6.0}, {"zoom": 0.2}, {"shear": 6.0}):
        other = Augment(**{**vars(augment), **row}).move(images, Generator().manual_seed(1))
        assert not torch.equal(one, other), row
    assert not Augment(elastic_sigma=6.0)
    assert all(Augment(**{name: 0.5}) for name in ("elastic", "zoom", "shear"))
