"""Test samples that are among those trained on, found by their content; files of a torch Dataset that changed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import synthetic
import torch
from torch.utils.data import Subset

from hpo.data import Samples, Tensor, Torch
from hpo.data.files import Folders, RawImages
from hpo.data.overlap import overlap
from hpo.data.streamed_set import StreamedSet, load_streamed
from hpo.errors import DataError

OWN = {"loader": "own_data:load", "name": "own_data:load"}


def samples(*rows: int) -> Samples:
    inputs = {"words": torch.tensor(rows)[:, None].repeat(1, 3), "length": torch.tensor(rows).float()[:, None]}
    return Samples(inputs, torch.zeros(len(rows), dtype=torch.int64))


def test_equal_samples_are_counted_and_named() -> None:
    assert overlap(OWN, samples(1, 2, 3), samples(4, 5)) == ""
    said = overlap(OWN, samples(1, 2, 3), samples(4, 2, 1, 9))
    assert said == (
        "2 of 4 test samples of own_data:load are also in the train split (1, 2): a test score will be too good"
    )
    images = RawImages(torch.arange(48, dtype=torch.uint8).view(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64), "")
    assert "1 of 1 test samples" in overlap(OWN, images, RawImages(images.images[1:2], images.labels[1:2], ""))
    assert overlap({**OWN, "loader": "hpo.data.digits:load"}, images, images) == ""


class Files(torch.utils.data.Dataset[Any]):
    """As torchvision's ImageFolder lists them."""

    def __init__(self, *names: str) -> None:
        self.samples = [(name, 0) for name in names]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, 28, 28), float(number)), 0


def streamed(monkeypatch: pytest.MonkeyPatch, train: Any, test: Any) -> list[StreamedSet]:
    module = ModuleType("own_data")
    module.load = lambda split, folders, training: {"train": train, "test": test}[split]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_data", module)
    row = Torch("own_data:load", inputs=Tensor(1, 28, 28), classes=tuple("0123456789")).for_trainer("own_data:load")
    cpu = torch.device("cpu")
    return [load_streamed(row, split, Folders(None, Path()), cpu) for split in ("train", "test")]


def test_torch_datasets_are_compared_by_their_files_or_by_a_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    both = streamed(monkeypatch, Files("a/1", "a/2", "b/3"), Subset(Files("c/4", "a/../a/2"), [1]))
    assert overlap(OWN, *both).startswith("1 of 1 test samples of own_data:load are also in the train split (0)")
    assert overlap(OWN, *streamed(monkeypatch, Files("a/1", "a/2"), Files("a/3"))) == ""
    same = synthetic.datasets("train", None, False)
    assert "64 of 64 test samples that were compared" in overlap(OWN, *streamed(monkeypatch, same, same))
    other = synthetic.datasets("test", None, False)
    assert overlap(OWN, *streamed(monkeypatch, same, other)) == ""


def test_files_of_a_torch_dataset_are_known_by_name_size_and_content(tmp_path: Path) -> None:
    place = tmp_path / "scans" / "one"
    place.mkdir(parents=True)
    (place / "a.bin").write_bytes(b"abc")

    def digest() -> str:
        row = Torch("a:b", inputs=Tensor(1), classes=("a", "b"), files=tmp_path / "scans")
        (name, found) = next(iter(row.sources().items()))
        assert name == "files in scans"
        return found

    first = digest()
    assert digest() == first
    (place / "a.bin").write_bytes(b"abd")
    assert digest() != first
    (place / "a.bin").write_bytes(b"abc")
    (place / "b.bin").touch()
    assert digest() != first
    with pytest.raises(DataError, match="is not there"):
        Torch("a:b", inputs=Tensor(1), classes=("a", "b"), files="nowhere").sources()
    assert Torch("a:b", inputs=Tensor(1), classes=("a", "b")).sources() == {}
