"""hpo.testing finds each way to break the contract of a model or a data set, and says what to do about it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpo.data import Dataset, Folders, RawImages, checksum
from hpo.errors import DataError, StudyError
from hpo.models import Model, Reads
from hpo.testing import check_dataset, check_model

Shape = tuple[int, int, int]
SHAPE = (1, 8, 8)


class Linear(nn.Module):
    """A model that keeps its promises; the others break one each."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return logits


class TenClasses(Linear):
    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, 10)


class Infinite(Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 0.0


class Decided(Linear):
    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        nn.init.constant_(self.linear.bias[:1], 20.0)


class OtherEachTime(Linear):
    made = 0

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        OtherEachTime.made += 1
        nn.init.constant_(self.linear.bias, 1e-3 * OtherEachTime.made)


class DeadWeight(Linear):
    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.unused = nn.Linear(3, 3)


class Blind(Linear):
    """Its logits are the same for every image, so it learns how often each class comes and no more."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(torch.ones_like(images))


def model(kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch, **reads: Reads) -> Model:
    monkeypatch.setitem(sys.modules, "their_models", sys.modules[__name__])
    return Model(f"their_models:{kind.__name__}", reads)


def load(split: str, folders: Folders) -> RawImages:
    """A data set that keeps its promises: each of three classes, other images in each split."""
    random = torch.Generator().manual_seed(len(split))
    images = torch.randint(0, 256, (30, *SHAPE), generator=random, dtype=torch.uint8)
    labels = torch.arange(30) % 3
    return RawImages(images, labels, checksum(images, labels))


def without_a_class(split: str, folders: Folders) -> RawImages:
    whole = load(split, folders)
    return RawImages(whole.images, whole.labels % 2, whole.checksum)


def at_random(split: str, folders: Folders) -> RawImages:
    images = torch.randint(0, 256, (30, *SHAPE), dtype=torch.uint8)
    return replace(load(split, folders), images=images)


def one_split(split: str, folders: Folders) -> RawImages:
    return load("train", folders)


def without_a_checksum(split: str, folders: Folders) -> RawImages:
    return replace(load(split, folders), checksum="")


def of_floats(split: str, folders: Folders) -> RawImages:
    whole = load(split, folders)
    return replace(whole, images=whole.images.float())


def dataset(loader: Any, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Dataset:
    monkeypatch.setitem(sys.modules, "their_data", sys.modules[__name__])
    return Dataset(f"their_data:{loader.__name__}", SHAPE, ("a", "b", "c"), **changes)


def test_a_model_that_keeps_its_promises_passes_and_leaves_random_numbers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_rng_state()
    check_model(model(Linear, monkeypatch), shape=SHAPE, classes=3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        (TenClasses, r"does not give finite logits for 11 classes\n  3 images gave \[3, 10\]"),
        (Infinite, "does not give finite logits"),
        (Decided, r"favours classes before it is trained\n  first cross entropy .*; ln\(10\) is 2.3"),
        (OtherEachTime, "starts differently for the same seed\n  linear.bias"),
        (DeadWeight, "has parameters without a gradient\n  unused.weight, unused.bias"),
        (Blind, "does not learn sixteen images by heart\n  loss"),
    ],
)
def test_a_promise_that_a_model_breaks_is_named(
    kind: type[nn.Module], fact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match=fact) as caught:
        check_model(model(kind, monkeypatch), shape=SHAPE)
    assert "\nnext: " in str(caught.value)


def test_a_row_that_does_not_read_what_its_builder_takes_is_shown_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row = model(Linear, monkeypatch, width=Reads(int, 3))
    with pytest.raises(AssertionError, match=r"builder takes  shape, classes\n  row reads      shape, classes, width"):
        check_model(row, shape=SHAPE)


def test_a_model_without_a_value_it_needs_says_how_to_give_it() -> None:
    with pytest.raises(StudyError, match=r"needs hidden_units") as caught:
        check_model("shallow")
    assert caught.value.next == "check_model(..., {'hidden_units': ...})"


def test_a_model_is_tried_with_images_that_its_row_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none of the usual ones fits, with the smallest that does."""
    check_model(replace(model(Linear, monkeypatch), image_sizes=(40, 50), channels=(2,)))


def test_a_name_that_no_table_has_is_met_with_the_nearest() -> None:
    with pytest.raises(StudyError, match='did you mean "lenet"'):
        check_model("lenett")
    with pytest.raises(StudyError, match='did you mean "digits"'):
        check_dataset("digit")


def test_a_data_set_that_keeps_its_promises_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_dataset(dataset(load, monkeypatch), Folders(None, tmp_path))


@pytest.mark.parametrize(
    ("loader", "changes", "fact"),
    [
        (without_a_class, {}, "has no image of some classes\n  c"),
        (at_random, {}, "is not the same when it is loaded again"),
        (without_a_checksum, {}, "checksum none, then none"),
        (one_split, {}, "train and test of data set .* are the same images"),
        (load, {"validation": 1.5}, "holds out 1.5 of its images"),
    ],
)
def test_a_promise_that_a_data_set_breaks_is_named(
    loader: Any, changes: dict[str, Any], fact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match=fact) as caught:
        check_dataset(dataset(loader, monkeypatch, **changes), Folders(None, tmp_path))
    assert "\nnext: " in str(caught.value)


def test_images_of_another_type_are_refused_as_a_search_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"images are torch\.float32"):
        check_dataset(dataset(of_floats, monkeypatch), Folders(None, tmp_path))
