"""What splits, folds, subsets and statistics promise, for any labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numerics import assert_as_exact

from hpo.data.splits import channel_statistics, folds, folds_apart, split, split_apart, subset
from hpo.errors import StudyError

label_lists = st.lists(st.integers(0, 4), min_size=10, max_size=120).map(lambda values: torch.tensor(values))


def shares(labels: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return torch.bincount(labels[index], minlength=5)


@given(labels=label_lists, fraction=st.floats(0.1, 0.9), seed=st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_a_split_is_a_stratified_partition(labels: torch.Tensor, fraction: float, seed: int) -> None:
    """Disjoint, complete, sorted, of the asked size, every class its share to within one."""
    train, validation = split(labels, fraction, seed)
    assert train.dtype == validation.dtype == torch.int64
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(len(labels)))
    assert torch.equal(train, train.sort().values)
    assert torch.equal(validation, validation.sort().values)
    assert len(validation) == round(fraction * len(labels))
    wanted, found = torch.bincount(labels, minlength=5) * len(validation), shares(labels, validation) * len(labels)
    assert (found - wanted).abs().max() <= len(labels)  # to within one image, in whole numbers


@given(labels=label_lists, k=st.integers(2, 10), seed=st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_folds_validate_every_image_once(labels: torch.Tensor, k: int, seed: int) -> None:
    """Validation parts partition the images; parts and classes in them differ by at most one image."""
    parts = folds(labels, k, seed)
    assert len(parts) == k
    assert torch.equal(torch.cat([validation for _, validation in parts]).sort().values, torch.arange(len(labels)))
    for train, validation in parts:
        assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(len(labels)))
    sizes = torch.tensor([len(validation) for _, validation in parts])
    by_class = torch.stack([shares(labels, validation) for _, validation in parts])
    assert sizes.max() - sizes.min() <= 1
    assert (by_class.amax(0) - by_class.amin(0)).max() <= 1


@given(labels=label_lists, n=st.integers(1, 150), seed=st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_a_subset_keeps_the_classes_shares(labels: torch.Tensor, n: int, seed: int) -> None:
    """n distinct members of the index, every class its share to within one; the whole index when n is larger."""
    index = torch.arange(0, len(labels), 2)
    chosen = subset(index, labels, n, seed)
    assert len(chosen) == min(n, len(index)) == len(chosen.unique())
    assert torch.isin(chosen, index).all()
    wanted, found = shares(labels, index) * len(chosen), shares(labels, chosen) * len(index)
    assert (found - wanted).abs().max() <= len(index)  # to within one image, in whole numbers


def test_the_same_seed_gives_the_same_parts_on_every_machine() -> None:
    """A split is part of a study's definition: these indices must never change."""
    labels = torch.arange(20) % 3
    assert split(labels, 0.3, seed=7)[1].tolist() == [3, 10, 12, 14, 17, 19]
    assert split(labels, 0.3, seed=8)[1].tolist() != [3, 10, 12, 14, 17, 19]
    assert folds(labels, 4, seed=7)[0][1].tolist() == [0, 3, 7, 8, 10]
    assert subset(torch.arange(20), labels, 5, seed=7).tolist() == [3, 10, 12, 14, 19]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), 0.001])
def test_a_split_without_two_sides_is_refused(fraction: float) -> None:
    """Neither part may be empty, and the error says which share was asked for."""
    with pytest.raises(StudyError, match="leaves nothing"):
        split(torch.arange(20) % 2, fraction, seed=0)


@pytest.mark.parametrize("k", [-1, 0, 1, 21])
def test_fewer_than_two_folds_are_refused(k: int) -> None:
    """One fold would have nothing to train on; more folds than images nothing to validate on."""
    with pytest.raises(StudyError, match=f"folds={k}"):
        folds(torch.arange(20) % 2, k, seed=0)


def test_an_empty_subset_is_refused() -> None:
    """subset needs at least one image."""
    with pytest.raises(StudyError, match="subset=0"):
        subset(torch.arange(20), torch.zeros(20, dtype=torch.int64), 0, seed=0)


def test_statistics_are_those_of_the_indexed_images_alone() -> None:
    """Mean and deviation per channel on the scale 0..1, equal to a float64 computation over the index."""
    images = torch.randint(0, 256, (5000, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images[:, 1] //= 3
    index = torch.arange(0, 5000, 2)
    mean, std = channel_statistics(images, index)
    pixels = images[index].double() / 255
    assert mean.dtype == std.dtype == torch.float32
    exact = {"mean": pixels.mean((0, 2, 3)), "std": pixels.std((0, 2, 3), correction=0)}
    rounded = {name: value.float() for name, value in exact.items()}
    assert_as_exact({"mean": mean, "std": std}, [rounded], exact, factor=1.0, floor=0.5)  # rounded once, at the end


def test_a_constant_channel_has_deviation_one() -> None:
    """Nothing is divided by zero."""
    images = torch.full((4, 2, 3, 3), 7, dtype=torch.uint8)
    images[0, 1, 0, 0] = 8
    mean, std = channel_statistics(images, torch.arange(4))
    assert float(std[0]) == 1.0
    assert 0 < float(std[1]) < 0.01
    assert mean[0] == torch.tensor(7 / 255)


def test_statistics_of_nothing_are_refused() -> None:
    """An empty index is an error, not NaN."""
    with pytest.raises(StudyError, match="no images"):
        channel_statistics(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))


@given(st.integers(0, 2**31 - 1), st.integers(2, 4), st.floats(0.1, 0.5))
def test_a_group_stays_on_one_side(seed: int, classes: int, fraction: float) -> None:
    random = np.random.default_rng(seed)
    labels = torch.from_numpy(random.integers(0, classes, 120))
    groups = torch.from_numpy(random.integers(0, 30, 120))
    train, held_out = split_apart(labels, groups, fraction, seed)
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(120))
    assert not set(groups[train].tolist()) & set(groups[held_out].tolist())
    assert set(labels[train].tolist()) == set(labels[held_out].tolist())
    assert abs(len(held_out) / 120 - fraction) < 0.15
    parts = folds_apart(labels, groups, 3, seed)
    assert sorted(position for _, held in parts for position in held.tolist()) == list(range(120))
    for train, held_out in parts:
        assert not set(groups[train].tolist()) & set(groups[held_out].tolist())
        assert 20 <= len(held_out) <= 60


def test_groups_of_one_sample_are_split_as_evenly_as_classes() -> None:
    labels = torch.arange(100) % 4
    _, held_out = split_apart(labels, torch.arange(100), 0.2, seed=1)
    assert labels[held_out].bincount().tolist() == [5, 5, 5, 5]


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(StudyError, match="leaves nothing"):
        split_apart(torch.tensor([0, 0]), torch.tensor([1, 1]), 0.2, seed=0)
    with pytest.raises(StudyError, match="at most the number of groups, 1"):
        folds_apart(torch.tensor([0, 0]), torch.tensor([1, 1]), 2, seed=0)
