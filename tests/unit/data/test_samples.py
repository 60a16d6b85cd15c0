"""Inputs that are no images: what a declaration says of them, what a loader may give, and what a network gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from hpo import Study
from hpo.data import Dataset, Samples, Tensor
from hpo.data.samples import checked_samples
from hpo.data.tensor_set import TensorSet, statistics
from hpo.errors import DataError, StudyError

CLASSES = ("a", "b")


def loader() -> None:
    """Stands for the user's own."""


def checked(inputs: Any, spec: Tensor | Mapping[str, Tensor], targets: Any = None, **more: Any) -> Samples:
    targets = torch.arange(6) % 2 if targets is None else targets
    job = Dataset("my:load", inputs=spec, classes=CLASSES).for_trainer("my:load")
    return checked_samples(Samples(inputs, targets, **more), loader, "train split of my:load", job, 2)


def test_what_a_loader_gives_reaches_the_network_as_it_is() -> None:
    """Bytes stay bytes and token numbers stay token numbers."""
    given = {"tokens": torch.arange(6).view(6, 1), "bytes": torch.full((6, 2, 2), 200, dtype=torch.uint8)}
    spec = {"tokens": Tensor(1, dtype="int64"), "bytes": Tensor(2, 2, dtype="uint8")}
    samples = checked(given, spec)
    assert isinstance(samples.inputs, dict)
    batch, labels = TensorSet(samples.inputs, samples.targets, {}, several=True).batch(torch.tensor([4, 1]))
    assert batch["tokens"].tolist() == [[4], [1]]
    assert batch["bytes"].dtype == torch.uint8
    assert batch["bytes"].unique().tolist() == [200]
    assert labels.tolist() == [0, 1]


def test_normalised_inputs_have_the_mean_and_deviation_of_what_is_trained_on() -> None:
    values = torch.randn(50, 3) * torch.tensor([1.0, 100.0, 0.0]) + torch.tensor([0.0, -7.0, 5.0])
    index = torch.arange(40)
    data = TensorSet({"inputs": values}, torch.zeros(50), {"inputs": statistics(values, index)}, several=False)
    batch, _ = data.batch(index)
    assert batch.mean(0).abs().max() < 1e-5
    assert (batch.std(0, correction=0) - torch.tensor([1.0, 1.0, 0.0])).abs().max() < 1e-5
    mean, std = statistics(torch.randn(10, 4, 5, 6), index[:10])
    assert mean.shape == std.shape == (4, 1, 1)


@pytest.mark.parametrize(
    ("inputs", "spec", "said"),
    [
        (torch.zeros(6, 3, dtype=torch.float64), Tensor(3), "torch.float64 [6, 3], expected torch.float32 [N, 3]"),
        (torch.zeros(6, 4), Tensor(3), "[6, 4], expected torch.float32 [N, 3]"),
        ([1, 2], Tensor(3), "inputs is list, expected torch.Tensor"),
        ({"b": torch.zeros(6)}, {"a": Tensor()}, "inputs are named b, expected a"),
        (torch.tensor([[0.0]] * 4 + [[torch.nan], [torch.inf]]), Tensor(1), "NaN or infinity in 2 of 6 samples: 4, 5"),
        (torch.full((6, 2), 9), Tensor(2, dtype="int64", below=9), "runs from 9 to 9, expected 0..8"),
        (torch.full((6, 2), -1), Tensor(2, dtype="int64", below=9), "runs from -1"),
        ({"a": torch.zeros(6), "b": torch.zeros(5)}, {"a": Tensor(), "b": Tensor()}, "b has 5 samples, and others 6"),
    ],
)
def test_inputs_that_are_not_as_declared_are_told_with_the_loaders_line(inputs: Any, spec: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        checked(inputs, spec)
    assert said in str(caught.value)
    assert re.search(r"test_samples\.py, line \d+: def loader", str(caught.value))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"targets": torch.arange(6)}, "targets run from 0 to 5, expected 0..1"),
        ({"targets": torch.zeros(6)}, "targets are torch.float32 [6], expected torch.int64 [6]"),
        ({"targets": torch.zeros(5, dtype=torch.int64)}, "targets are torch.int64 [5], expected torch.int64 [6]"),
        ({"groups": torch.zeros(5, dtype=torch.int64)}, "groups: torch.int64 [5], expected torch.int64 [6]"),
        ({"validation": torch.ones(6, dtype=torch.bool)}, "validation marks all samples, or none"),
    ],
)
def test_targets_groups_and_validation_that_do_not_fit_are_told(more: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        checked(torch.zeros(6, 3), Tensor(3), **more)
    assert said in str(caught.value)


def test_a_loader_that_returns_something_else_is_told() -> None:
    job = Dataset("my:load", inputs=Tensor(3), classes=CLASSES).for_trainer("my:load")
    with pytest.raises(DataError, match="returned tuple, not hpo"):
        checked_samples((1, 2), loader, "train split of my:load", job, 2)


def test_everything_that_decides_a_result_is_in_the_checksum() -> None:
    base: dict[str, Any] = {"inputs": torch.zeros(6, 3), "spec": Tensor(3)}
    changes: list[dict[str, Any]] = [
        {},
        {"inputs": torch.ones(6, 3)},
        {"targets": 1 - torch.arange(6) % 2},
        {"groups": torch.arange(6)},
        {"validation": torch.arange(6) > 3},
    ]
    sums = [checked(**{**base, **change}).checksum for change in changes]
    assert len({*sums}) == len(sums)
    assert checked(**base).checksum == sums[0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Tensor(0), "Tensor(0,)"),
        (lambda: Tensor(3, dtype="float64"), "float32, int64, uint8"),
        (lambda: Tensor(3, dtype="int64", normalise=True), "cannot be normalised"),
        (lambda: Tensor(3, below=7), "goes with int64"),
        (lambda: Dataset("a:b", (3, 8, 8), CLASSES, inputs=Tensor(3)), "says twice"),
        (lambda: Dataset("a:b", classes=CLASSES, inputs={}), "neither a Tensor nor a dict"),
        (lambda: Dataset("a:b", classes=CLASSES, inputs={"a b": Tensor(1)}), "must be words"),
        (lambda: study(dataset=Dataset("a:b", (30,), CLASSES)), "inputs=Tensor(30)"),
        (lambda: study(model="lenet"), "the model takes images, and the data set has Tensor(30)"),
        (lambda: study(space={"flip": True}), 'nothing reads "flip": the data set has Tensor(30)'),
        (lambda: study(space={"elastic": 1.0}), 'nothing reads "elastic": the data set has Tensor(30)'),
        (lambda: study(space={"randaugment": 2}), 'nothing reads "randaugment": the data set has Tensor(30)'),
        (lambda: study(dataset=tokens(), space={"mixup_alpha": 0.2}), 'nothing reads "mixup_alpha"'),
        (
            lambda: study(dataset=Dataset("a:b", (4, 8, 8), CLASSES), space={"hue": 0.1}),
            '"hue" needs images of 1 or 3 channels, and these have 4',
        ),
    ],
)
def test_a_declaration_that_could_not_run_is_refused(make: Any, said: str) -> None:
    with pytest.raises(StudyError) as caught:
        make()
    assert said in str(caught.value)


def test_the_declaration_has_the_inputs() -> None:
    assert study(dataset=tokens()).declaration()["(inputs)"] == "Tensor(12, dtype=int64, below=50)"
    assert "(inputs)" not in study(dataset="digits").declaration()


def tokens() -> Dataset:
    return Dataset("a:b", classes=CLASSES, inputs=Tensor(12, dtype="int64", below=50))


def study(**changes: Any) -> Study:
    space = {"batch_size": 8, "lr": 0.1, **changes.pop("space", {})}
    fields: dict[str, Any] = {
        "name": "numbers",
        "dataset": Dataset("a:b", classes=CLASSES, inputs=Tensor(30)),
        "model": "perceptron",
        "baseline": {},
    }
    return Study(**(fields | changes), space=space)
