"""Augmentation equals torchvision's, image by image and in distribution; ImageSet equals plain indexing."""

from __future__ import annotations

import math

import pytest
import torch
from numerics import EPS, FALSE_ALARM, FLOOR, assert_as_exact
from scipy import stats
from torch import Generator, Tensor
from torchvision.transforms import functional as reference

from hpo.data.augment import (
    Augment,
    crop,
    cutout,
    flip,
    mixup,
    random_crop,
    random_cutout,
    random_flip,
    random_rotate,
    rotate,
)
from hpo.data.image_set import ImageSet

pytestmark = pytest.mark.numeric

SHAPES = [(1, 28, 28), (3, 32, 32), (2, 9, 14)]


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(3)


def pictures(shape: tuple[int, int, int], count: int = 24) -> Tensor:
    return torch.randint(1, 256, (count, *shape), dtype=torch.uint8, generator=Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_is_torchvisions_pad_and_crop(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    """For the same offsets every pixel is the same."""
    images, padding = pictures(shape).to(dtype), 3
    tops = torch.arange(24) % 7
    lefts = torch.arange(24) * 5 % 7
    expected = [
        reference.crop(reference.pad(image, [padding]), int(top), int(left), shape[1], shape[2])
        for image, top, left in zip(images, tops, lefts, strict=True)
    ]
    assert torch.equal(crop(images, tops, lefts, padding), torch.stack(expected))


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_is_torchvisions_hflip(shape: tuple[int, int, int]) -> None:
    """Chosen images are mirrored left and right, others untouched."""
    images, which = pictures(shape), torch.arange(24) % 3 == 0
    expected = [reference.hflip(image) if chosen else image for image, chosen in zip(images, which, strict=True)]
    assert torch.equal(flip(images, which), torch.stack(expected))


def clear_of_borders(shape: tuple[int, int, int], angles: Tensor) -> Tensor:
    """bool [N, 1, H, W]: the pixels whose source, turned back by the angle, lies on no border between two pixels."""
    _, height, width = shape
    turn = torch.deg2rad(angles.double()).view(-1, 1, 1)
    down = (torch.arange(height).double() - (height - 1) / 2).view(1, -1, 1)
    right = (torch.arange(width).double() - (width - 1) / 2).view(1, 1, -1)
    rows = turn.sin() * right + turn.cos() * down + (height - 1) / 2
    columns = turn.cos() * right - turn.sin() * down + (width - 1) / 2
    clear = [(axis - axis.floor() - 0.5).abs() > 4 * FLOOR * EPS * max(height, width) for axis in (rows, columns)]
    return (clear[0] & clear[1]).unsqueeze(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_rotate_is_torchvisions_nearest_rotation(shape: tuple[int, int, int]) -> None:
    """For the same angles pixels agree, but for those whose source lies on the border between two."""
    images = pictures(shape)
    angles = torch.linspace(-179.3, 180.1, 24)
    expected = torch.stack([reference.rotate(image, float(a)) for image, a in zip(images, angles, strict=True)])
    clear = clear_of_borders(shape, angles)
    assert clear.double().mean() > 0.99
    assert torch.equal(rotate(images, angles) * clear, expected * clear)


def test_rotate_by_nothing_changes_nothing() -> None:
    """Angle 0 is the identity and 90 degrees a quarter turn counter-clockwise."""
    images = pictures((1, 28, 28))
    assert torch.equal(rotate(images, torch.zeros(24)), images)
    assert torch.equal(rotate(images, torch.full((24,), 90.0)), images.rot90(1, (2, 3)))


@pytest.mark.parametrize("side", [1, 4, 7])
def test_cutout_is_torchvisions_erase_of_the_clipped_square(side: int) -> None:
    """A square about the centre becomes zero, and only its part inside the image."""
    images = torch.randn(24, 3, 12, 16)
    rows, columns = torch.arange(24) % 12, torch.arange(24) * 7 % 16
    expected = []
    for image, row, column in zip(images, rows.tolist(), columns.tolist(), strict=True):
        top, left = max(row - side // 2, 0), max(column - side // 2, 0)
        bottom, right = min(row - side // 2 + side, 12), min(column - side // 2 + side, 16)
        expected.append(reference.erase(image, top, left, bottom - top, right - left, torch.tensor(0.0)))
    assert torch.equal(cutout(images, rows, columns, side), torch.stack(expected))


def beacon(count: int, side: int, at: tuple[int, int]) -> Tensor:
    """One lit pixel in the same place of every image: where it goes tells what was drawn."""
    images = torch.zeros(count, 1, side, side, dtype=torch.uint8)
    images[:, 0, at[0], at[1]] = 255
    return images


def test_crop_offsets_are_uniform(generator: Generator) -> None:
    """Each of the (2*padding+1)^2 offsets is equally likely, rows and columns independently."""
    moved = random_crop(beacon(9000, 11, (5, 5)), 2, generator).flatten(1).argmax(1)
    counts = torch.bincount((moved // 11 - 3) * 5 + (moved % 11 - 3), minlength=25)
    assert len(counts) == 25
    assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


def test_half_of_the_images_are_flipped(generator: Generator) -> None:
    """RandomHorizontalFlip's default probability."""
    flipped = random_flip(beacon(9000, 4, (0, 0)), generator)[:, 0, 0, 3] == 255
    assert stats.binomtest(int(flipped.sum()), 9000, 0.5).pvalue > FALSE_ALARM


def test_rotation_angles_are_uniform(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """RandomRotation(degrees): uniform in -degrees..degrees."""
    drawn: list[Tensor] = []
    monkeypatch.setattr("hpo.data.augment.rotate", lambda images, angles: drawn.append(angles))
    random_rotate(torch.zeros(5000, 1, 1, 1), 15.0, generator)
    assert stats.kstest(drawn[0].numpy(), stats.uniform(-15, 30).cdf).pvalue > FALSE_ALARM


def test_cutout_centres_are_uniform(generator: Generator) -> None:
    """Every pixel of the image is equally likely to be the centre."""
    cut = random_cutout(torch.ones(9000, 2, 5, 6), 1, generator)
    assert torch.equal(cut[:, 0], cut[:, 1])
    assert stats.chisquare((cut[:, 0] == 0).sum(0).flatten().numpy()).pvalue > FALSE_ALARM


def test_mixup_blends_images_and_names_the_other_labels(generator: Generator) -> None:
    """mixed = lam * image + (1 - lam) * other, with the other's label alongside."""
    images, labels = torch.randn(8, 3, 4, 4, generator=generator), torch.arange(8)
    mixed, second, lam = mixup(images, labels, 0.4, generator)
    assert lam.ndim == 0
    assert sorted(second.tolist()) == labels.tolist()
    share, other = lam.double(), images[second]
    exact = share * images.double() + (1 - share) * other.double()
    assert_as_exact({"mixed": mixed}, [{"mixed": lam * images + (1 - lam) * other}], {"mixed": exact})


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 4.0])
def test_mixup_weights_follow_the_beta_distribution(alpha: float, generator: Generator) -> None:
    """lam ~ Beta(alpha, alpha) within 0..1, never NaN even where a gamma ratio would be 0/0."""
    images, labels = torch.zeros(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64)
    drawn = torch.stack([mixup(images, labels, alpha, generator)[2] for _ in range(2000)])
    assert ((drawn >= 0) & (drawn <= 1)).all()
    if alpha >= 0.2:  # below, float32 rounds most draws to exactly 1 and the test has ties
        assert stats.kstest(drawn.numpy(), stats.beta(alpha, alpha).cdf).pvalue > FALSE_ALARM
    else:
        deviation = stats.beta(alpha, alpha).std() / math.sqrt(len(drawn))
        assert abs(float(drawn.mean()) - 0.5) < stats.norm.isf(FALSE_ALARM / 2) * deviation


def test_augment_depends_on_the_generator_alone() -> None:
    """Equal generators give equal batches, the next draw another; torch's global generator stays out of it."""
    augment = Augment(crop_padding=2, flip=True, rotation=20.0, cutout=4)
    images = pictures((3, 32, 32))
    before = torch.get_rng_state()
    first, again = Generator().manual_seed(1), Generator().manual_seed(1)
    one = augment.cover(augment.move(images, first).float(), first)
    assert torch.equal(one, augment.cover(augment.move(images, again).float(), again))
    assert not torch.equal(one, augment.cover(augment.move(images, again).float(), again))
    assert torch.equal(before, torch.get_rng_state())
    assert augment.move(images, first).dtype == torch.uint8


def test_augment_does_nothing_by_default(generator: Generator) -> None:
    """The defaults pass images through, draw nothing, and say so by being false."""
    images = pictures((1, 28, 28))
    state = generator.get_state()
    assert not Augment()
    assert Augment(flip=True)
    assert Augment().move(images, generator) is images
    assert Augment().cover(images, generator) is images
    assert torch.equal(state, generator.get_state())


def image_set(device: str = "cpu") -> ImageSet:
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.4, 0.3])
    return ImageSet(pictures((3, 6, 5)), torch.arange(24), mean, std, device)


def test_a_batch_is_normalised_like_torchvision() -> None:
    """batch(index) equals ToTensor and Normalize of each image; raw(index) is the stored bytes."""
    data, index = image_set(), torch.tensor([5, 0, 23, 5])
    images, labels = data.batch(index)
    expected = reference.normalize(data.images[index].float() / 255, data.mean.tolist(), data.std.tolist())
    mean, std = (value.double().view(3, 1, 1) for value in (data.mean, data.std))
    exact = (data.images[index].double() / 255 - mean) / std
    assert_as_exact({"images": images}, [{"images": expected}], {"images": exact})
    assert images.dtype == torch.float32
    assert labels.tolist() == [5, 0, 23, 5]
    assert torch.equal(data.raw(index)[0], data.images[index])


def test_batches_cover_the_set_in_order() -> None:
    """Every image once, the last batch as small as what is left."""
    data = image_set()
    parts = list(data.batches(10))
    assert [len(labels) for _, labels in parts] == [10, 10, 4]
    assert torch.equal(torch.cat([labels for _, labels in parts]), data.labels)
    assert torch.equal(torch.cat([images for images, _ in parts]), data.batch(torch.arange(24))[0])


def test_a_part_keeps_the_normalisation_of_the_whole() -> None:
    """part(index) holds those images alone, normalised by the same constants."""
    data, index = image_set(), torch.tensor([3, 7, 11])
    part = data.part(index)
    assert len(part) == 3
    assert torch.equal(part.batch(torch.arange(3))[0], data.batch(index)[0])


def test_an_image_set_refuses_what_is_not_images() -> None:
    """Floats, or labels of another length, are a mistake of the caller."""
    mean = std = torch.ones(1)
    with pytest.raises(ValueError, match="not images and labels"):
        ImageSet(torch.zeros(3, 1, 2, 2), torch.zeros(3), mean, std)
    with pytest.raises(ValueError, match="not images and labels"):
        ImageSet(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(2), mean, std)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_augmented_batch_can_be_captured_in_a_cuda_graph() -> None:
    """Gathering, augmenting, normalising and mixing need no host read, and each replay draws anew."""
    data = image_set("cuda")
    generator = Generator("cuda").manual_seed(1)
    index = torch.arange(24, device="cuda")
    augment = Augment(crop_padding=2, flip=True, rotation=20.0, cutout=2)

    def step() -> Tensor:
        images, labels = data.raw(index)
        images = augment.cover(data.normalise(augment.move(images, generator)), generator)
        return mixup(images, labels, 0.4, generator)[0]

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        out = step()
    graph.replay()
    first = out.clone()
    graph.replay()
    assert torch.isfinite(first).all()
    assert not torch.equal(first, out)
