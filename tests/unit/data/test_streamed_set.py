"""What Torch(...) declares, and what of its Datasets is refused before the first trial, at the user's line."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import synthetic
import torch
from torch.utils.data import ConcatDataset, IterableDataset, Subset

from hpo import Study
from hpo.data import Tensor, Torch
from hpo.data.files import Folders
from hpo.data.streamed_set import ReadAhead, StreamedSet, load_streamed
from hpo.errors import DataError, HpoError, StudyError
from hpo.study.validation import check_rows

CPU = torch.device("cpu")
CLASSES = tuple("0123456789")


def loaded(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, inputs: Any = None) -> StreamedSet:
    module = ModuleType("own_data")
    module.datasets = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_data", module)
    row = Torch("own_data:datasets", inputs=inputs or Tensor(1, 28, 28), classes=CLASSES, workers=0)
    return load_streamed(row.for_trainer("own"), "train", Folders(None, Path()), CPU)


def test_a_split_has_labels_of_its_own_and_the_same_checksum_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a Subset too; another sample is another checksum."""
    one, again = (loaded(synthetic.datasets, monkeypatch) for _ in range(2))
    assert one.labels.tolist() == [number % 10 for number in range(200)]
    assert one.checksum == again.checksum

    def part(split: str, folders: Folders, training: bool) -> Subset[Any]:
        return Subset(synthetic.datasets(split, folders, training), range(5, 105))

    other = loaded(part, monkeypatch)
    assert other.labels.tolist() == [number % 10 for number in range(5, 105)]
    assert other.checksum != one.checksum


def test_a_pair_is_what_trains_and_what_validates(monkeypatch: pytest.MonkeyPatch) -> None:
    def pair(split: str, folders: Folders, training: bool) -> tuple[Any, Any]:
        whole = synthetic.datasets(split, folders, training)
        return Subset(whole, range(150)), Subset(whole, range(150, 200))

    found = loaded(pair, monkeypatch)
    assert isinstance(found, StreamedSet)
    assert found.validation is not None
    assert found.validation.nonzero()[:, 0].tolist() == list(range(150, 200))
    assert len(found) == 200


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


def given(**changes: Any) -> Callable[..., Any]:
    """A function that returns samples of (input, target), with others for what `changes` names."""
    sample = (changes.get("input", torch.zeros(1, 28, 28)), changes.get("target", 3))
    samples = [changes.get("sample", sample)] * changes.get("count", 4)
    return lambda split, folders, training: samples + ([sample] if training and changes.get("more") else [])


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda split, folders: [], "cannot be called as datasets(split, folders, training)"),
        (lambda split, folders, training: Stream(), "returned Stream, which has no samples by number"),
        (lambda split, folders, training: 3, "returned int, which has no samples by number"),
        (given(count=0), "there are no samples"),
        (given(more=True), "5 samples for training and 4 for scoring"),
        (given(sample=torch.zeros(1, 28, 28)), "expected (inputs, targets)"),
        (given(input=torch.zeros(3, 28, 28)), "torch.float32 [4, 3, 28, 28], expected torch.float32 [N, 1, 28, 28]"),
        (given(input=torch.zeros(1, 28, 28).double()), "torch.float64 [4, 1, 28, 28], expected torch.float32"),
        (given(input=torch.full((1, 28, 28), torch.nan)), "inputs has NaN or infinity (samples 0, 1, 2, 3)"),
        (given(input={"a": torch.zeros(1, 28, 28)}), "inputs are a, expected a tensor"),
        (given(target=10), "targets run from 10 to 10, expected 0..9"),
        (given(target=0.5), "targets are torch.float64 [4], expected torch.int64 [4]"),
        (given(sample=("words", 3)), "inputs: "),
        (lambda split, folders, training: SimpleNamespace(targets=[1]), "returned SimpleNamespace"),
    ],
)
def test_what_is_not_as_declared_is_refused(
    function: Callable[..., Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HpoError) as caught:
        loaded(function, monkeypatch)
    assert told in str(caught.value)
    assert f"{__file__}, line" in str(caught.value), "the line of the function"


def test_a_sample_that_raises_is_told_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(list[int]):
        def __getitem__(self, number: Any) -> Any:
            raise OSError("photo 3 is cut off")

    with pytest.raises(DataError) as caught:
        loaded(lambda split, folders, training: Failing([1, 2]), monkeypatch)
    assert "sample 0 cannot be loaded: OSError: photo 3 is cut off" in str(caught.value)
    assert 'raise OSError("photo 3 is cut off")' in str(caught.value)


def test_the_sample_to_blame_is_told_in_a_batch_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of many, which nobody would find among the numbers of a batch."""
    samples = [(torch.zeros(1, 28, 28), 3)] * 100
    streamed = loaded(lambda split, folders, training: samples, monkeypatch)
    for wrong, told in (
        ((torch.full((1, 28, 28), torch.nan), 3), "inputs has NaN or infinity (sample 41)"),
        ((torch.zeros(1, 28, 28), 10), "targets run from 10 to 10, expected 0..9 (sample 41)"),
    ):
        samples[41] = wrong
        with pytest.raises(DataError) as caught:
            streamed.batch(torch.arange(30, 60))
        assert caught.value.fact == told
        assert f"{__file__}, line" in caught.value.evidence[0]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Torch("my_data", inputs=Tensor(3)), "must be the name of a function"),
        (lambda: Torch(len, inputs=Tensor(3)), "must be the name of a function"),  # type: ignore[arg-type]
        (lambda: Torch("a:b", inputs=Tensor(3), workers=-1), "workers=-1"),
        (lambda: Torch("a:b", inputs=Tensor(3, normalise=True)), "normalise in the Dataset"),
    ],
)
def test_a_declaration_that_could_not_run_is_refused(make: Callable[[], Torch], told: str) -> None:
    with pytest.raises(StudyError) as caught:
        make()
    assert told in str(caught.value)


def test_workers_decide_no_result_and_known_networks_take_float_images() -> None:
    """So another number of them leaves a trial's key as it is."""
    rows = [Torch("a:b", inputs=Tensor(3, 64, 64), classes=("x", "y"), workers=count) for count in (0, 3)]
    described = [{k: v for k, v in row.for_trainer("n").items() if k != "place"} for row in rows]
    assert described[0] == described[1]
    space = {"batch_size": 8, "lr": 0.1}
    study = Study(name="s", dataset=rows[0], model="torchvision:resnet18", space=space, baseline={})
    check_rows(study, study.parts)
    with pytest.raises(StudyError, match="the data set names 0 classes"):
        Study(name="s", dataset=Torch("a:b", Tensor(30)), model="perceptron", space=space, baseline={})
    with pytest.raises(StudyError, match=r"the data set has Tensor\(30\)"):
        Study(name="s", dataset=Torch("a:b", Tensor(30), ("x", "y")), model="lenet", space=space, baseline={})


def test_other_tasks_have_their_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As training takes them: a number to predict is float32 [N, 1]; a class is no such target."""
    monkeypatch.setitem(sys.modules, "own_data", SimpleNamespace(datasets=given(target=0.5)))
    row = Torch("own_data:datasets", inputs=Tensor(1, 28, 28), classes=("price",)).for_trainer("own")
    found = load_streamed(row, "train", Folders(None, Path()), CPU, "regression")
    assert not found.labelled
    targets = found.batch(torch.arange(3))[1]
    assert (targets.dtype, targets.tolist()) == (torch.float32, [[0.5]] * 3)
    monkeypatch.setitem(sys.modules, "own_data", SimpleNamespace(datasets=given()))
    with pytest.raises(DataError, match="expected floating point"):
        load_streamed(row, "train", Folders(None, Path()), CPU, "regression")


@pytest.mark.parametrize("training", [True, False])
def test_no_more_samples_are_in_memory_than_a_batch_has(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the look before the first trial, and not in an epoch of training or of scoring."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Counted(Sequence[Any]):
        def __len__(self) -> int:
            return 2000

        def __getitem__(self, number: Any) -> Any:
            nonlocal most
            alive.add(sample := torch.full((1, 28, 28), float(number)))
            most = max(most, len(alive))
            return sample, number % 10

    ahead = ReadAhead(loaded(lambda split, folders, training: Counted(), monkeypatch), 16, training=training)
    parts = torch.arange(2000).split(16)
    ahead.expect(parts)
    batches: weakref.WeakSet[Any] = weakref.WeakSet()
    for part in parts:
        batches.add(inputs := ahead(part)[0])
        assert inputs[:, 0, 0, 0].tolist() == part.tolist()
        assert len(batches) <= 2
    assert 16 <= most <= 32


def test_labels_of_several_in_a_row_are_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def joined(split: str, folders: Folders, training: bool) -> ConcatDataset[Any]:
        return ConcatDataset([synthetic.datasets(split, folders, training)] * 2)

    assert len(loaded(joined, monkeypatch).labels.unique()) == 10
    assert len(loaded(joined, monkeypatch)) == 400
