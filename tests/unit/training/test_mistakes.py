"""What of the test split a classifier got wrong: which images, and how they are shown."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from hpo.data.image_set import ImageSet
from hpo.data.tensor_set import TensorSet
from hpo.training.fit import fit
from hpo.training.mistakes import SHOWN, SIDE, MistakeFinder, shown
from hpo.training.progress import StopRequest

pytestmark = pytest.mark.numeric


def image_set(images: torch.Tensor) -> ImageSet:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return ImageSet(images, labels, torch.zeros(images.shape[1]), torch.ones(images.shape[1]))


def test_the_surest_mistakes_come_first_and_no_more_than_a_few() -> None:
    """Over batches of different sizes; what is right is none, and equal ones keep the order of the test split."""
    sure, labels = torch.rand(500, generator=torch.Generator().manual_seed(0)), torch.zeros(500, dtype=torch.int64)
    sure[400:] = 0.25
    logits = torch.stack([torch.zeros(500), 4 * sure - 1, torch.full((500,), -9.0)], dim=1)
    found = MistakeFinder()
    for part in torch.arange(500).split(130):
        found.add(logits[part], labels[part])
    said = found.found()
    wrong = [at for at in range(500) if sure[at] > 0.25]
    assert said["count"] == len(wrong)
    assert [one["index"] for one in said["shown"]] == sorted(wrong, key=lambda at: -sure[at])[:SHOWN]
    assert {(one["label"], one["predicted"]) for one in said["shown"]} == {(0, 1)}
    expected = torch.softmax(logits[said["shown"][0]["index"]], 0)[1]
    assert said["shown"][0]["confidence"] == pytest.approx(float(expected), rel=1e-3)
    even = MistakeFinder()
    even.add(torch.tensor([[0.0, 1.0]] * 40), torch.zeros(40, dtype=torch.int64))
    assert [one["index"] for one in even.found()["shown"]] == list(range(SHOWN))
    broken = MistakeFinder()
    broken.add(torch.full((2, 2), torch.nan), torch.ones(2, dtype=torch.int64))
    assert [one["confidence"] for one in broken.found()["shown"]] == [0.0, 0.0]


@pytest.mark.parametrize(("shape", "size"), [((1, 28, 28), (28, 28)), ((3, 300, 150), (48, 96)), ((4, 8, 8), (8, 8))])
def test_a_mistake_is_a_small_picture(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    images = torch.full((3, *shape), 40, dtype=torch.uint8)
    images[2] = 200
    found = {"count": 1, "shown": [{"index": 2, "label": 0, "predicted": 1, "confidence": 0.9}]}
    (one,) = shown(found, image_set(images), shape, ["a", "b", "odd\nname \udcff"])["mistakes"]["shown"]
    assert one.pop("file") == "odd\\nname \\udcff"
    assert one.keys() == {"index", "label", "predicted", "confidence", "image"}
    with Image.open(io.BytesIO(base64.b64decode(one["image"]))) as picture:
        assert picture.format == "WEBP"
        assert picture.size == size
        assert max(picture.size) <= SIDE
        assert abs(picture.convert("L").getpixel((0, 0)) - 200) < 8  # of image 2, no other
    assert len(one["image"]) < 8000


def test_inputs_that_are_no_images_have_no_pictures() -> None:
    rows = TensorSet({"inputs": torch.rand(5, 30)}, torch.zeros(5, dtype=torch.int64), {}, several=False)
    found = {"count": 1, "shown": [{"index": 2, "label": 0, "predicted": 1, "confidence": 0.9}]}
    assert shown(found, rows, [30]) == {}
    assert (
        "file"
        not in shown(found, image_set(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)), [1, 8, 8])["mistakes"]["shown"][0]
    )


def test_a_final_run_tells_what_it_got_wrong(make_job: Any, data: Any, device: torch.device, tmp_path: Path) -> None:
    """As many as its confusion matrix has beside the diagonal."""
    finished = fit(make_job(phase="final", checkpoint=tmp_path / "final"), data, device, lambda _: None, StopRequest())
    table = torch.tensor(finished.facts["confusion"])
    mistakes = finished.facts["mistakes"]
    assert mistakes["count"] == int(table.sum() - table.diagonal().sum()) > 0
    for one in mistakes["shown"]:
        assert table[one["label"], one["predicted"]] > 0
        assert one["label"] != one["predicted"]
