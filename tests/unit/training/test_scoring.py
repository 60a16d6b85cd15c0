"""How many images are scored at a time on a GPU, which a stand-in for its memory plays here; and mirrored ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hpo.inference.model import load_model
from hpo.models.build import build_model
from hpo.training import scoring
from hpo.training.configuration import Recipe
from hpo.training.scoring import ImagesAtOnce, score

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
RECIPE = Recipe.read({"batch_size": 32, "lr": 1e-3})
INDEX = torch.arange(10)


def batch_of(*shape: int) -> scoring.Batch:
    images = torch.arange(10.0).view(-1, *(1 for _ in shape)).expand(-1, *shape)
    return lambda index: (images[index % 10], index % 10)


@pytest.mark.parametrize(
    ("shape", "on_gpu"), [((1, 28, 28), 4096), ((3, 32, 32), 4096), ((3, 128, 128), 256), ((3, 224, 224), 83)], ids=str
)
def test_large_images_are_scored_fewer_at_a_time(shape: tuple[int, ...], on_gpu: int) -> None:
    assert ImagesAtOnce(batch_of(*shape), INDEX, GPU).count == on_gpu
    assert ImagesAtOnce(batch_of(*shape), INDEX, CPU).count == 512


class Narrow(nn.Module):
    """A linear model on a device whose memory holds so many images at a time."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.linear, self.most, self.sizes = nn.Linear(3, 10), most, list[int]()

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.00 GiB.")
        return self.linear(images)


def scored(model: nn.Module, at_once: ImagesAtOnce) -> tuple[float, float] | None:
    data = batch_of(3)
    return score(model, data, torch.arange(100), RECIPE, CPU, lambda: False, at_once=at_once)


def test_memory_that_holds_no_more_halves_the_batch_and_loses_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial of a network that enlarges its images was pruned as out of memory. The next epoch knows the size."""
    monkeypatch.setitem(scoring.MOST_AT_ONCE, "cuda", 64)
    released: list[torch.device] = []
    monkeypatch.setattr(scoring, "release_memory", released.append)
    model, at_once = Narrow(20), ImagesAtOnce(batch_of(3), INDEX, GPU)
    found = scored(model, at_once)
    assert model.sizes == [64, 32, *[16] * 6, 4]
    assert released == [GPU, GPU]
    roomy = Narrow(1000)
    roomy.load_state_dict(model.state_dict())
    assert found == pytest.approx(scored(roomy, ImagesAtOnce(batch_of(3), INDEX, CPU)))
    model.sizes.clear()
    scored(model, at_once)
    assert model.sizes == [*[16] * 6, 4]


def test_what_holds_no_single_image_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a CPU at once, whose memory the next batch would not find free either."""
    monkeypatch.setattr(scoring, "release_memory", lambda device: None)
    model = Narrow(0)
    with pytest.raises(torch.OutOfMemoryError):
        scored(model, ImagesAtOnce(batch_of(3), INDEX, GPU))
    assert model.sizes[-1] == 1
    model.sizes.clear()
    with pytest.raises(torch.OutOfMemoryError):
        scored(model, ImagesAtOnce(batch_of(3), INDEX, CPU))
    assert model.sizes == [100]


def test_with_test_flip_a_saved_model_judges_as_validation_and_test_did(tmp_path: Path) -> None:
    """By the mean of its outputs for an image and its mirror image, everywhere; without the row by the image alone."""
    images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    network = build_model("hpo.models.mlp:mlp", (1, 8, 8), 3, {"layers": 1, "hidden_units": [8]})
    about = {"model": "hpo.models.mlp:mlp", "parameters": {"layers": 1, "hidden_units": [8]}, "shape": [1, 8, 8]}
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    found = []
    for flips in (True, False):
        config = {"batch_size": 32, "lr": 1e-3, **({"test_flip": True} if flips else {})}
        given = {**about, "classes": ["a", "b", "c"], "mean": [0.0], "std": [1.0], "config": config}
        (tmp_path / "config.json").write_text(json.dumps(given))
        outputs = load_model(tmp_path, "s").classifier(images)
        loss = nn.functional.cross_entropy(outputs, INDEX % 3).item()

        def batch(index: Tensor) -> tuple[Tensor, Tensor]:
            return images[index], index % 3

        recipe = Recipe.read(config)
        scored = score(network, batch, INDEX, recipe, CPU, lambda: False)
        assert scored is not None
        assert scored["val_loss"] == pytest.approx(loss)
        assert scoring.score_test(network, batch, INDEX, 3, recipe, CPU).loss == pytest.approx(loss)
        found.append(loss)
    assert found[0] != found[1]
