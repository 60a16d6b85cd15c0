"""A chain trained by hand is the model trained by autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from data.image_set import ImageSet
from hpo.training.average import WeightAverage
from hpo.training.chains import read_layers
from hpo.training.configuration import Recipe
from hpo.training.optimizers import build_optimizer, optimizer_tensors
from hpo.training.step import Step
from models.mlp import mlp, perceptron, shallow

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)
RECIPES: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "adam with weight decay": {"optimizer": "adam", "weight_decay": 1e-2},
    "adamw": {"optimizer": "adamw", "weight_decay": 1e-1, "decay_norm_and_bias": False},
    "sgd": {"optimizer": "sgd", "lr": 0.1},
    "sgd, nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.5},
    "gradient clipping": {"optimizer": "sgd", "lr": 0.5, "gradient_clip": 0.1},
    "average of weights": {"optimizer": "adam", "ema_decay": 0.9},
}


def images() -> ImageSet:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (200, *SHAPE), generator=random, dtype=torch.uint8)
    return ImageSet(pixels, torch.randint(0, 10, (200,), generator=random), torch.tensor([0.5]), torch.tensor([0.25]))


def train(model: nn.Module, recipe: Recipe, *, by_hand: bool, steps: int) -> tuple[Step, dict[str, torch.Tensor]]:
    """(the step, weights and optimizer state and average by name) after `steps` steps of 12 or fewer images."""
    optimizer = build_optimizer(model, recipe, CPU)
    average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
    step = Step(model, images().batch, optimizer, recipe, CPU, average=average, by_hand=by_hand)
    torch.manual_seed(1)  # of dropout
    random = torch.Generator().manual_seed(1)
    for number in range(steps):
        step(torch.randint(0, 200, (12 - number % 3,), generator=random))
    averaged = {} if average is None else {f"average.{name}": value for name, value in average.tensors().items()}
    return step, {**model.state_dict(), **optimizer_tensors(optimizer), **averaged}


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_weights_state_and_sums_are_those_of_autograd(settings: dict[str, Any], dropout: float) -> None:
    """After 50 steps weights, optimizer state, average, loss and hits are those of autograd, up to rounding."""
    recipe = Recipe.read({"batch_size": 12, "lr": 1e-3, **settings})
    model = mlp(SHAPE, 10, 2, [40, 24], dropout)
    twin = mlp(SHAPE, 10, 2, [40, 24], dropout)
    twin.load_state_dict(model.state_dict())
    step, ours = train(model, recipe, by_hand=True, steps=50)
    reference, theirs = train(twin, recipe, by_hand=False, steps=50)
    assert step.chain is not None
    assert reference.chain is None
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(
            ours[name], value, rtol=2e-3, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    torch.testing.assert_close(step.first_loss, reference.first_loss)
    assert step.sums.read() == pytest.approx(reference.sums.read(), rel=1e-4)
    assert step.sums.hits == reference.sums.hits


@pytest.mark.parametrize("model", [perceptron(SHAPE, 10), shallow(SHAPE, 10, 30), mlp(SHAPE, 10, 2, [20, 30], 0.5)])
def test_logits_are_the_models(model: nn.Module) -> None:
    """`logits` gives what the model gives in evaluation mode."""
    step, _ = train(model, Recipe.read({"batch_size": 12, "lr": 1e-3}), by_hand=True, steps=1)
    assert step.chain is not None
    batch, _ = images().batch(torch.arange(50))
    torch.testing.assert_close(step.chain.logits(batch), model.eval()(batch))


def hooked() -> nn.Module:
    model = perceptron(SHAPE, 10)
    model[1].register_forward_hook(lambda module, inputs, output: output * 2)
    return model


class Doubling(nn.Sequential):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        doubled: torch.Tensor = super().forward(input) * 2
        return doubled


OTHERS = {
    "another activation": nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10)),
    "a layer of its own": nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Flatten(), nn.Linear(64, 10)),
    "no bias": nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False)),
    "double precision": nn.Sequential(nn.Flatten(), nn.Linear(64, 10, dtype=torch.float64)),
    "shared layers": nn.Sequential(nn.Flatten(), *[nn.Linear(64, 64)] * 2),
    "a forward of its own": Doubling(nn.Flatten(), nn.Linear(64, 10)),
    "a hook": hooked(),
}


@pytest.mark.parametrize("model", OTHERS.values(), ids=OTHERS)
def test_other_models_are_left_to_autograd(model: nn.Module) -> None:
    """Whatever is not exactly a chain of float32 linear layers is not taken for one."""
    assert read_layers(model) is None


@pytest.mark.parametrize("setting", [{"label_smoothing": 0.1}, {"freeze_epochs": 1}, {"precision": "bf16"}])
def test_other_recipes_are_left_to_autograd(setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a chain cannot do, autograd does."""
    monkeypatch.setattr("hpo.training.step.supports_bf16", lambda device: True)
    recipe = Recipe.read({"batch_size": 4, "lr": 1e-3, **setting})
    model = perceptron(SHAPE, 10)
    step = Step(model, images().batch, build_optimizer(model, recipe, CPU), recipe, CPU)
    assert step.chain is None
