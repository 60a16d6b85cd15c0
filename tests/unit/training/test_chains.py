"""A chain trained by hand is the model trained by autograd, and both are what plain torch trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from numerics import assert_as_exact, twin
from plain_training import assert_trained_as_plainly
from torch import nn
from torch.optim import Optimizer

from hpo.data.image_set import ImageSet
from hpo.models.lenet import lenet
from hpo.models.mlp import mlp, perceptron
from hpo.training.average import WeightAverage
from hpo.training.configuration import Recipe
from hpo.training.fast_paths import fused
from hpo.training.kernels import native
from hpo.training.kernels.choice import Choice
from hpo.training.kernels.fused_train_step import FusedTrainStep
from hpo.training.kernels.layers import read_layers
from hpo.training.optimizers import build_optimizer
from hpo.training.step import Step

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)
RECIPES: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "adam with weight decay": {"optimizer": "adam", "weight_decay": 1e-2},
    "adamw": {"optimizer": "adamw", "weight_decay": 1e-1, "decay_norm_and_bias": False},
    "sgd": {"optimizer": "sgd", "lr": 0.1},
    "sgd, momentum": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
    "sgd, nesterov": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "rmsprop": {"optimizer": "rmsprop", "lr": 1e-3, "momentum": 0.5},  # whose steps are ten times as long at first
    "gradient clipping": {"optimizer": "sgd", "lr": 0.5, "gradient_clip": 0.1},
    "average of weights": {"optimizer": "adam", "ema_decay": 0.9},
    "label smoothing": {"optimizer": "sgd", "lr": 0.1, "label_smoothing": 0.3},
}


def images(shape: tuple[int, int, int]) -> ImageSet:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (200, *shape), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, 10, (200,), generator=random)
    return ImageSet(pixels, labels, torch.full(shape[:1], 0.5), torch.full(shape[:1], 0.25))


def small_cnn() -> nn.Sequential:
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


def assert_trains(
    model: nn.Sequential, shape: tuple[int, int, int], batch: int, settings: dict[str, Any], *, by_hand: bool
) -> None:
    """Six steps on `batch` images, one fewer, two fewer and so again end as near to where they should as torch's."""
    recipe, data = Recipe.read({"batch_size": batch, "lr": 1e-2, **settings}), images(shape)

    def make(model: nn.Sequential, optimizer: Optimizer, average: WeightAverage | None) -> Step:
        chain = fused(model, shape, optimizer, recipe, CPU) if by_hand else None
        assert (chain is not None) is by_hand
        return Step(model, data.batch, optimizer, recipe, CPU, average=average, chain=chain)

    sizes = [batch, batch - 1, batch - 2] * 2
    assert_trained_as_plainly(model, recipe, data, make, [(size, recipe.lr) for size in sizes])


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(("build", "shape", "batch"), MODELS)
def test_a_chain_trains_as_plain_torch_does(
    build: Callable[[], nn.Sequential], shape: tuple[int, int, int], batch: int, settings: dict[str, Any]
) -> None:
    """After six steps weights, optimizer state, average and losses are as exact, and the hits the same."""
    torch.manual_seed(0)
    assert_trains(build(), shape, batch, settings, by_hand=True)


@pytest.mark.parametrize("settings", RECIPES.values(), ids=RECIPES)
def test_a_step_by_autograd_trains_as_plain_torch_does(settings: dict[str, Any]) -> None:
    """What a chain is specified by; with nn.Dropout, whose masks a chain draws too."""
    torch.manual_seed(0)
    assert_trains(mlp(SHAPE, 10, 2, [40, 24], 0.3), SHAPE, 20, settings, by_hand=False)


def stepped(model: nn.Sequential, shape: tuple[int, int, int], batch: int) -> Step:
    """A step that has trained `model` by hand on one batch."""
    recipe = Recipe.read({"batch_size": batch, "lr": 1e-3})
    optimizer = build_optimizer(model, recipe, CPU)
    chain = fused(model, shape, optimizer, recipe, CPU)
    assert chain is not None
    step = Step(model, images(shape).batch, optimizer, recipe, CPU, chain=chain)
    step(torch.arange(batch))
    return step


@pytest.mark.parametrize(("build", "shape", "batch"), MODELS)
def test_logits_are_the_models(build: Callable[[], nn.Sequential], shape: tuple[int, int, int], batch: int) -> None:
    """`logits` gives what the model gives in evaluation mode, for any number of images."""
    torch.manual_seed(0)
    model = build()
    step = stepped(model, shape, batch)
    assert step.chain is not None
    exact = twin(model, torch.float64).eval()
    for count in (1, 50):
        pixels, _ = images(shape).batch(torch.arange(count))
        with torch.no_grad():
            ours, torchs = step.chain.logits(pixels), model.eval()(pixels)
            assert_as_exact({"logits": ours}, [{"logits": torchs}], {"logits": exact(pixels.double())})


@pytest.mark.kernels
def test_a_diverged_network_shows_it() -> None:
    """A weight that is not a number makes the loss not a number, through pooling and ReLU too."""
    model = lenet((1, 28, 28), 10)
    with torch.no_grad():
        next(model.parameters())[0, 0, 4, 4] = torch.nan
    assert math.isnan(stepped(model, (1, 28, 28), 20).running.read()[0])


def test_without_a_compiler_convolutions_are_left_to_autograd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No compiler, a compiler that fails and a folder that cannot be written are no errors."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
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
    assert fused(model, SHAPE, build_optimizer(model, recipe, CPU), recipe, CPU) is None


@pytest.mark.parametrize(
    "setting", [{"mixup_alpha": 0.2}, {"cutmix_alpha": 1.0}, {"freeze_epochs": 1}, {"precision": "bf16"}]
)
def test_other_recipes_are_left_to_autograd(setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a chain cannot do, autograd does."""
    monkeypatch.setattr("hpo.training.fast_paths.supports_bf16", lambda device: True)
    recipe = Recipe.read({"batch_size": 4, "lr": 1e-3, **setting})
    model = perceptron(SHAPE, 10)
    assert fused(model, SHAPE, build_optimizer(model, recipe, CPU), recipe, CPU) is None


def whole(model: nn.Module, settings: dict[str, Any]) -> FusedTrainStep | None:
    layers = read_layers(list(model))
    assert layers is not None
    recipe = Recipe.read({"batch_size": 2, "lr": 1e-2, **settings})
    return FusedTrainStep.of(None, layers, build_optimizer(model, recipe, CPU))


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
    with pytest.raises(IndexError, match="is not a class"):
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
    ("width", "batch", "calls"),
    [(1500, Choice.one_call, 1), (1500, Choice.one_call + 1, 0), (40, Choice.one_call + 1, 1)],
)
def test_a_chain_takes_small_batches_in_one_call(
    width: int, batch: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to so many images, and more of them where layers are narrow; beyond, products are quicker."""
    seen: list[int] = []
    real = FusedTrainStep.learn
    monkeypatch.setattr(FusedTrainStep, "learn", lambda self, x, y: seen.append(len(x)) or real(self, x, y))
    stepped(mlp(SHAPE, 10, 2, [width, 80]), SHAPE, batch)
    assert seen == [batch] * calls


def test_rmsprop_goes_by_products() -> None:
    """An optimizer without a kernel."""
    assert whole(perceptron(SHAPE, 10), {"optimizer": "rmsprop"}) is None
