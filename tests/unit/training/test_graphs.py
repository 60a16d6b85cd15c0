"""When a step is run eagerly, recorded and replayed; the recording itself is tested on a GPU (tests/system/gpu)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpo.study.discovery import list_studies
from hpo.training.average import WeightAverage
from hpo.training.configuration import Recipe
from hpo.training.graphs import WARM_UP, Replayed, Work, replayable
from hpo.training.step import Step


def test_every_batch_is_trained_once() -> None:
    """Warm-up runs the work, then one recording is made and replayed; a shorter batch is run as it is."""
    trained: list[tuple[str, int]] = []
    recorded: list[int] = []

    def work(index: Tensor) -> None:
        trained.append(("eager", int(index[0])))

    def record(work: Work, index: Tensor) -> Work:
        recorded.append(len(index))
        return lambda index: trained.append(("replayed", int(index[0])))

    step = Replayed(work, 4, record)
    step(torch.tensor([100, 0]))
    for number in range(WARM_UP + 2):
        step(torch.full((4,), number))
    step(torch.tensor([200]))
    ways = ["eager", *["eager"] * WARM_UP, "replayed", "replayed", "eager"]
    assert trained == list(zip(ways, [100, *range(WARM_UP + 2), 200], strict=True))
    assert recorded == [4]


@pytest.mark.parametrize("setting", [{"flip": True}, {"mixup_alpha": 0.1}, {"freeze_epochs": 1}, {"crop_padding": 1}])
def test_what_changes_from_step_to_step_is_not_recorded(setting: dict[str, Any]) -> None:
    """A recipe with host-side or time-dependent parts stays eager, and so does every CPU."""
    plain = {"batch_size": 4, "lr": 1e-3}
    assert replayable(Recipe.read(plain), torch.device("cuda"))
    assert not replayable(Recipe.read(plain), torch.device("cpu"))
    assert not replayable(Recipe.read({**plain, **setting}), torch.device("cuda"))


def test_the_average_takes_in_recorded_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no part of the recording, which would repeat the weight of one step for ever."""
    monkeypatch.setattr("hpo.training.step.replayable", lambda *_: True)
    monkeypatch.setattr("hpo.training.graphs.capture", lambda *_: lambda _: None)
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    recipe = Recipe.read({"batch_size": 4, "lr": 0.1, "ema_decay": 0.9})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    step = Step(model, lambda _: data, optimizer, recipe, torch.device("cpu"), average=average)
    for _ in range(WARM_UP + 3):
        step(torch.arange(4))
    assert average.updates == WARM_UP + 3


def test_the_baselines_of_mnist_are_recorded() -> None:
    """Averaged weights had switched recording off for all of them."""
    mnist = [one.study for one in list_studies() if one.study.dataset_name == "mnist"]
    assert len(mnist) >= 5
    assert all(replayable(Recipe.read(study.baseline_config), torch.device("cuda")) for study in mnist)
