"""How many images are scored at a time on a GPU, which a stand-in for its memory plays here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

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
