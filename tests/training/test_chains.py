"""A chain trained by hand is the model trained by autograd."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from data.image_set import ImageSet
from hpo.training import native
from hpo.training.average import WeightAverage
from hpo.training.chains import read_chain
from hpo.training.configuration import Recipe
from hpo.training.layers import read_layers
from hpo.training.optimizers import build_optimizer, optimizer_tensors
from hpo.training.step import Step
from hpo.training.whole_step import MOST_IMAGES, WholeStep
from models.lenet import lenet
from models.mlp import mlp, perceptron

pytestmark = pytest.mark.numeric

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
    "label smoothing": {"optimizer": "sgd", "lr": 0.1, "label_smoothing": 0.3},
}


def images(shape: tuple[int, int, int]) -> ImageSet:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (200, *shape), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, 10, (200,), generator=random)
    return ImageSet(pixels, labels, torch.full(shape[:1], 0.5), torch.full(shape[:1], 0.25))


def small_cnn() -> nn.Module:
    """Two stages in either order of ReLU and pooling, other kernels, padding and channels than LeNet's."""
    return nn.Sequential(
        *(nn.Conv2d(2, 7, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(7, 9, 3, padding=1), nn.MaxPool2d(2, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(9 * 3 * 3, 10)),
    )


# Widths that fill no vector; batches of every way a layer is computed: few images, more of them, products.
MODELS = [
    pytest.param(lambda: mlp(SHAPE, 10, 2, [41, 27]), SHAPE, 7, id="mlp, a few images"),
    pytest.param(lambda: mlp(SHAPE, 10, 2, [41, 27]), SHAPE, 20, id="mlp, some images"),
    pytest.param(lambda: mlp(SHAPE, 10, 2, [90, 70]), SHAPE, 70, id="mlp, many images"),
    pytest.param(lambda: mlp(SHAPE, 10, 2, [400, 260]), SHAPE, 70, id="mlp, by products"),
    pytest.param(lambda: mlp(SHAPE, 10, 2, [40, 24], 0.3), SHAPE, 7, id="mlp with dropout, a few images"),
    pytest.param(lambda: mlp(SHAPE, 10, 2, [40, 24], 0.3), SHAPE, 20, id="mlp with dropout"),
    pytest.param(lambda: lenet((1, 28, 28), 10), (1, 28, 28), 20, id="lenet", marks=pytest.mark.kernels),
    pytest.param(small_cnn, (2, 12, 12), 50, id="a small cnn", marks=pytest.mark.kernels),
]


def train(
    model: nn.Module, shape: tuple[int, int, int], recipe: Recipe, *, by_hand: bool, steps: int
) -> tuple[Step, dict[str, torch.Tensor]]:
    """(the step, weights and optimizer state and average by name) after steps of B, B - 1, B - 2, B ... images."""
    optimizer = build_optimizer(model, recipe, CPU)
    average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
    chain = read_chain(model, shape, optimizer, recipe, CPU) if by_hand else None
    step = Step(model, images(shape).batch, optimizer, recipe, CPU, average=average, chain=chain)
    torch.manual_seed(1)  # of dropout
    random = torch.Generator().manual_seed(1)
    for number in range(steps):
        step(torch.randint(0, 200, (recipe.batch_size - number % 3,), generator=random))
    averaged = {} if average is None else {f"average.{name}": value for name, value in average.tensors().items()}
    return step, {**model.state_dict(), **optimizer_tensors(optimizer), **averaged}


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(("build", "shape", "batch"), MODELS)
def test_weights_state_and_sums_are_those_of_autograd(
    build: Callable[[], nn.Module], shape: tuple[int, int, int], batch: int, settings: dict[str, Any]
) -> None:
    """After 20 steps weights, optimizer state, average, loss and hits are those of autograd, up to rounding."""
    recipe = Recipe.read({"batch_size": batch, "lr": 1e-3, **settings})
    torch.manual_seed(0)
    model, twin = build(), build()
    twin.load_state_dict(model.state_dict())
    step, ours = train(model, shape, recipe, by_hand=True, steps=20)
    reference, theirs = train(twin, shape, recipe, by_hand=False, steps=20)
    assert step.chain is not None
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        # By the length of the difference: Adam turns the rounding of a gradient near zero into a step of its own. And
        # not after many more steps: one unit that is zero in one network and not in the other, and they part.
        difference = (ours[name] - value).float().norm() / value.float().norm().clamp_min(1e-3)
        assert difference < 1e-4, name
    torch.testing.assert_close(step.first_loss, reference.first_loss)
    assert step.sums.read() == pytest.approx(reference.sums.read(), rel=1e-4)


@pytest.mark.parametrize(("build", "shape", "batch"), MODELS)
def test_logits_are_the_models(build: Callable[[], nn.Module], shape: tuple[int, int, int], batch: int) -> None:
    """`logits` gives what the model gives in evaluation mode, for any number of images."""
    model = build()
    step, _ = train(model, shape, Recipe.read({"batch_size": batch, "lr": 1e-3}), by_hand=True, steps=1)
    assert step.chain is not None
    for count in (1, 50):
        batch, _ = images(shape).batch(torch.arange(count))
        torch.testing.assert_close(step.chain.logits(batch), model.eval()(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.kernels
def test_a_diverged_network_shows_it() -> None:
    """A weight that is not a number makes the loss not a number, through pooling and ReLU too."""
    model = lenet((1, 28, 28), 10)
    with torch.no_grad():
        next(model.parameters())[0, 0, 4, 4] = torch.nan
    step, _ = train(model, (1, 28, 28), Recipe.read({"batch_size": 20, "lr": 1e-3}), by_hand=True, steps=1)
    assert step.chain is not None
    assert math.isnan(step.sums.read()[0])


def test_without_a_compiler_convolutions_are_left_to_autograd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No compiler, a compiler that fails and a folder that cannot be written are no errors."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native.library.__wrapped__("chain") is None
    monkeypatch.setattr(native.shutil, "which", lambda name: "/bin/false")
    assert native.library.__wrapped__("chain") is None
    (tmp_path / "file").touch()
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "file"))
    assert native.library.__wrapped__("chain") is None


def hooked() -> nn.Module:
    model = perceptron(SHAPE, 10)
    model[1].register_forward_hook(lambda module, inputs, output: output * 2)
    return model


def frozen(model: nn.Module, layer: int) -> nn.Module:
    model.get_submodule(str(layer)).requires_grad_(False)
    return model


def watched() -> nn.Module:
    model = perceptron(SHAPE, 10)
    next(model.parameters()).register_hook(lambda gradient: gradient * 2)
    return model


def tied() -> nn.Module:
    first, second = nn.Linear(64, 64), nn.Linear(64, 64)
    second.bias = first.bias
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)


def patched() -> nn.Module:
    model = perceptron(SHAPE, 10)
    model.forward = lambda input: nn.Sequential.forward(model, input) * 2  # type: ignore[method-assign]
    return model


def convolution(pooling: nn.Module | None = None, channels: int = 1, **options: Any) -> nn.Module:
    first = nn.Conv2d(channels, 4, **{"kernel_size": 3, "padding": 1, **options})
    return nn.Sequential(first, pooling or nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))


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
    "a forward put over its own": patched(),
    "a hook": hooked(),
    "a hook on a weight": watched(),
    "a frozen layer": frozen(perceptron(SHAPE, 10), 1),
    "a frozen convolution": frozen(convolution(), 0),
    "one bias of two layers": tied(),
    "strides": convolution(stride=2),
    "even kernel": convolution(kernel_size=4),
    "odd sides": convolution(padding=(1, 0)),
    "overlapping pools": convolution(pooling=nn.MaxPool2d(3, 2, 1)),
    "too few pixels": nn.Sequential(nn.Flatten(), nn.Linear(63, 10)),
    "layers that do not fit": nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(21, 10)),
    "channels that do not fit": convolution(channels=2),
    "channels last": convolution(channels=2).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("model", OTHERS.values(), ids=OTHERS)
def test_other_models_are_left_to_autograd(model: nn.Module) -> None:
    """Whatever is not exactly a chain of known float32 layers that fit is not taken for one: no error, no chain."""
    recipe = Recipe.read({"batch_size": 4, "lr": 1e-3})
    assert read_chain(model, SHAPE, build_optimizer(model, recipe, CPU), recipe, CPU) is None


@pytest.mark.parametrize("setting", [{"mixup_alpha": 0.2}, {"freeze_epochs": 1}, {"precision": "bf16"}])
def test_other_recipes_are_left_to_autograd(setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a chain cannot do, autograd does."""
    monkeypatch.setattr("hpo.training.chains.supports_bf16", lambda device: True)
    recipe = Recipe.read({"batch_size": 4, "lr": 1e-3, **setting})
    model = perceptron(SHAPE, 10)
    assert read_chain(model, SHAPE, build_optimizer(model, recipe, CPU), recipe, CPU) is None


def whole(model: nn.Module, settings: dict[str, Any]) -> WholeStep | None:
    layers = read_layers(list(model))
    assert layers is not None
    recipe = Recipe.read({"batch_size": 2, "lr": 1e-2, **settings})
    return WholeStep.of(None, layers, build_optimizer(model, recipe, CPU))


@pytest.mark.kernels
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_step_in_one_call_shows_what_is_not_a_number(optimizer: str) -> None:
    """One pixel that is not a number: the loss is none either, nor is any weight that the pixel's image reached."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 10))
    step = whole(model, {"optimizer": optimizer})
    assert step is not None
    pixels = torch.ones(2, *SHAPE)
    pixels[0, 0, 3, 3] = torch.nan
    loss, _ = step.learn(pixels, torch.tensor([1, 2]))
    assert loss.isnan()
    assert all(parameter.isnan().all() for parameter in model.parameters())


@pytest.mark.kernels
@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_that_is_no_class_is_an_error_before_anything_changes(label: int) -> None:
    """As in torch, whose cross entropy says the same; in C it would be a write past the end."""
    model = perceptron(SHAPE, 10)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    step = whole(model, {"optimizer": "sgd"})
    assert step is not None
    with pytest.raises(IndexError, match="no class"):
        step.learn(torch.ones(2, *SHAPE), torch.tensor([1, label]))
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


@pytest.mark.kernels
def test_images_of_another_size_are_an_error() -> None:
    """In C they would be read past their end."""
    step = whole(perceptron(SHAPE, 10), {"optimizer": "sgd"})
    assert step is not None
    with pytest.raises(ValueError, match="64 values"):
        step.learn(torch.ones(2, 1, 7, 7), torch.tensor([1, 2]))


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("width", "batch", "calls"), [(1500, MOST_IMAGES, 1), (1500, MOST_IMAGES + 1, 0), (40, MOST_IMAGES + 1, 1)]
)
def test_a_chain_takes_small_batches_in_one_call(
    width: int, batch: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to so many images, and more of them where layers are narrow; beyond, products are quicker."""
    seen: list[int] = []
    real = WholeStep.learn
    monkeypatch.setattr(WholeStep, "learn", lambda self, x, y: seen.append(len(x)) or real(self, x, y))
    recipe = Recipe.read({"batch_size": batch, "lr": 1e-3})
    train(mlp(SHAPE, 10, 2, [width, 80]), SHAPE, recipe, by_hand=True, steps=1)
    assert seen == [batch] * calls


def test_rmsprop_goes_by_products() -> None:
    """An optimizer without a kernel."""
    assert whole(perceptron(SHAPE, 10), {"optimizer": "rmsprop"}) is None


_TRAINED = """
import sys, torch
from hpo.training.chains import read_chain
from hpo.training.configuration import Recipe
from hpo.training.layers import read_layers
from hpo.training.optimizers import build_optimizer
from models.mlp import perceptron

recipe, cpu, model = Recipe.read({"batch_size": 2, "lr": 0.1}), torch.device("cpu"), perceptron((1, 8, 8), 10)
optimizer = build_optimizer(model, recipe, cpu)
chain = read_chain(model, (1, 8, 8), optimizer, recipe, cpu)
chain.learn(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))
assert "torch._dynamo" not in sys.modules, "a chain has loaded the compiler"
"""


def test_a_chain_needs_no_compiler_of_torch() -> None:
    """torch._dynamo is 160 MB in every trainer and a second of its start."""
    subprocess.run([sys.executable, "-c", _TRAINED], check=True)
