"""What `hpo check` shows of the data: a picture of images with their augmentation, rows of anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from PIL import Image

from hpo.data import Dataset, Tensor, Torch
from hpo.training.sample import sample

SYNTHETIC = {"name": "synthetic", "loader": "synthetic:load", "shape": [1, 28, 28]}


def described(dataset: Dataset) -> dict[str, Any]:
    known = ("classes", "validation")
    return {name: value for name, value in dataset.for_trainer("data").items() if name not in known}


def test_images_are_drawn_before_and_after_augmentation(make_job: Any, data: Any, tmp_path: Path) -> None:
    """One of each class, in order; black where a crop left the image; no random number of a trial is drawn."""
    job = make_job(model="lenet", dataset=SYNTHETIC, crop_padding=20, protocol={"subset": None})
    before = torch.get_rng_state()
    path = tmp_path / "new" / "s.png"
    assert sample(job, data.parts(job), path) == {"png": str(path), "images": 8}
    assert torch.equal(before, torch.get_rng_state())
    picture = np.asarray(Image.open(path).convert("L")).astype(int)
    side = 84  # 28 pixels, three times as large
    upper = [picture[14 : 14 + side, 4 + at * 88 : 4 + at * 88 + side] for at in range(8)]
    lower = [picture[32 + side : 32 + 2 * side, 4 + at * 88 : 4 + at * 88 + side] for at in range(8)]
    means = [image.mean() for image in upper]
    assert np.diff(means) == pytest.approx([20] * 7, abs=3), "the class is the brightness"
    assert any((image == 0).mean() > 0.2 for image in lower)
    assert all((one == other).all() for one, other in zip(upper, lower, strict=True)) is False


def test_streamed_images_are_drawn_as_both_datasets_give_them(make_job: Any, data: Any, tmp_path: Path) -> None:
    dataset = described(Torch("synthetic:datasets", inputs=Tensor(1, 28, 28), workers=0))
    job = make_job(builder="synthetic:normed", dataset=dataset, protocol={"subset": None})
    assert sample(job, data.parts(job), tmp_path / "s.png")["images"] == 8
    assert Image.open(tmp_path / "s.png").size[0] == 4 + 8 * 88


def test_other_inputs_are_rows_as_the_network_gets_them(make_job: Any, data: Any, tmp_path: Path) -> None:
    """Normalised where the declaration says so, with the class of each; nothing is written."""
    dataset = described(Dataset("synthetic:load_tensors", inputs=synthetic.TENSORS))
    job = make_job(builder="synthetic:two_inputs", dataset=dataset, protocol={"subset": None})
    rows = sample(job, data.parts(job), tmp_path / "s.png")["rows"]
    assert len(rows) == 8
    assert rows[0].startswith("values -")
    assert rows[0].endswith("   ->   0")
    assert "; tokens " in rows[0]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_costs_the_picture_alone(make_job: Any, data: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    job = make_job(model="lenet", dataset=SYNTHETIC, protocol={"subset": None})
    assert "no picture of a sample" in sample(job, data.parts(job), tmp_path / "file" / "s.png")["note"]
