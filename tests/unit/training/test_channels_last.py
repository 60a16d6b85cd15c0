"""Layers by the kernels of channels_last.c do what torch's own do, and only where a step trains."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from numerics import assert_as_exact, twin
from torch import Tensor, nn

from hpo.data.image_set import ImageSet
from hpo.training.configuration import Recipe
from hpo.training.kernels import channels_last
from hpo.training.kernels.channels_last import fast_layers
from hpo.training.optimizers import build_optimizer
from hpo.training.step import Step

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")

LAYERS = {
    "depthwise 3x3": (nn.Conv2d(20, 20, 3, padding=1, groups=20, bias=False), 9),
    "depthwise 3x3/2": (nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False), 8),
    "depthwise 5x5": (nn.Conv2d(40, 40, 5, padding=2, groups=40, bias=False), 2),
    "depthwise 5x5/2": (nn.Conv2d(24, 24, 5, stride=2, padding=2, groups=24, bias=False), 7),
    "depthwise 3x3/3 without padding": (nn.Conv2d(3, 3, 3, stride=3, groups=3, bias=False), 11),
    "pointwise": (nn.Conv2d(24, 40, 1, bias=False), 6),
    "squeeze and excitation": (nn.Conv2d(24, 40, 1), 1),
    "pooling 3x3/2 over the edge": (nn.MaxPool2d(3, 2, ceil_mode=True), 8),
    "pooling 3x3/2 with padding": (nn.MaxPool2d(3, 2, 1), 9),
    "pooling 2x2": (nn.MaxPool2d(2), 7),
    "average of all pixels": (nn.AdaptiveAvgPool2d(1), 6),
}


def computed(
    layer: nn.Module,
    images: Tensor,
    *,
    fast: bool,
    bf16: bool = False,
    format: torch.memory_format = torch.channels_last,
) -> dict[str, Tensor]:
    """Output, gradient of the images and of the weight, if any, of a loss that weighs every pixel otherwise."""
    images = images.to(memory_format=format, copy=True).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        moved = images.to(torch.bfloat16) if bf16 else images
        if fast:
            with fast_layers(layer, CPU)():
                output = layer(moved)
        else:
            output = layer(moved)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    (output * weights).sum().backward()
    assert images.grad is not None
    found = {"output": output.detach(), "images": images.grad}
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        found[name] = parameter.grad
        parameter.grad = None
    return found


def computed_exactly(layer: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The same by torch in float64."""
    return computed(twin(layer, torch.float64), images.double(), fast=False)


CASES = [
    pytest.param(*case, id=name, marks=pytest.mark.kernels if name.startswith(("depthwise", "pooling")) else ())
    for name, case in LAYERS.items()
]


def seeded_images(layer: nn.Module, side: int) -> Tensor:
    """Images for `layer`, whose weights are made anew: both from a seed."""
    torch.manual_seed(0)
    if isinstance(layer, nn.Conv2d):
        layer.reset_parameters()
    channels = layer.in_channels if isinstance(layer, nn.Conv2d) else 21
    return torch.randn(5, channels, side, side, generator=torch.Generator().manual_seed(0))


def pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which of the ways of this module have run."""
    channels_last._tried_kernels()  # which runs them as well
    ran: list[str] = []
    for way in (channels_last._Depthwise, channels_last._MaxPool, channels_last._Mean):

        def backward(ctx: Any, delta: Tensor, own: Any = way.backward, name: str = way.__name__) -> Any:
            ran.append(name)
            return own(ctx, delta)

        monkeypatch.setattr(way, "backward", staticmethod(backward))

    def linear(*tensors: Tensor, own: Any = channels_last.F.linear) -> Any:
        ran.append("linear")
        return own(*tensors)

    monkeypatch.setattr(channels_last.F, "linear", linear)
    return ran


@pytest.mark.parametrize(("layer", "side"), CASES)
def test_every_layer_computes_what_torchs_does(layer: nn.Module, side: int, counted: list[str]) -> None:
    """Output and gradients in float32: odd channels, odd sides, strides, borders."""
    images = seeded_images(layer, side)
    formats = (torch.channels_last, torch.contiguous_format)  # torch adds up in another order for each
    torchs = [computed(layer, images, fast=False, format=format) for format in formats]
    found = computed(layer, images, fast=True)
    assert len(counted) == (not pointwise(layer))  # in float32 those are left to torch
    assert_as_exact(found, torchs, computed_exactly(layer, images))


@pytest.mark.parametrize(("layer", "side"), CASES)
def test_bf16_is_as_near_to_float32_as_torchs(layer: nn.Module, side: int, counted: list[str]) -> None:
    """Under autocast; torch's gradients in bf16 may be the further ones, as it also rounds the weights' sums.

    Without a factor: one eps of bf16, twice what rounding to it takes off, is for what goes in and what comes out.
    """
    images = seeded_images(layer, side).bfloat16().float()
    torchs, found = (computed(layer, images, fast=fast, bf16=True) for fast in (False, True))
    assert len(counted) == 1
    exact = computed_exactly(layer, images)
    assert_as_exact(found, [torchs], exact, factor=1.0, floor=1.0, eps=torch.finfo(torch.bfloat16).eps)


@pytest.mark.kernels
def test_a_nan_comes_through_the_pooling() -> None:
    """A network that diverged must look it."""
    layer, images = nn.MaxPool2d(3, 2), torch.randn(1, 16, 7, 7, generator=torch.Generator().manual_seed(0))
    images[0, 3, 2, 2] = torch.nan
    for bf16 in (False, True):
        expected, found = (computed(layer, images, fast=fast, bf16=bf16)["output"] for fast in (False, True))
        torch.testing.assert_close(found, expected, equal_nan=True, rtol=0, atol=0)


@pytest.mark.kernels
def test_outside_the_block_the_model_is_the_builders() -> None:
    """Also after an error, and for a layer that torch.export, torch-pruning or a hook may look at."""
    model = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.AdaptiveAvgPool2d(1))
    kinds = [type(module) for module in model]
    fast = fast_layers(model, CPU)
    with fast():
        assert not {type(module) for module in model} & set(kinds)
    assert [type(module) for module in model] == kinds
    with pytest.raises(RuntimeError, match="channels"), fast():
        model(torch.randn(1, 5, 8, 8))
    assert [type(module) for module in model] == kinds


class Doubling(nn.MaxPool2d):
    def forward(self, input: Tensor) -> Tensor:
        doubled: Tensor = super().forward(input) * 2
        return doubled


OTHERS = {
    "not depthwise": nn.Conv2d(4, 8, 3, groups=4, bias=False),
    "dense": nn.Conv2d(4, 4, 3, bias=False),
    "pointwise with a stride": nn.Conv2d(4, 4, 1, stride=2, bias=False),
    "pointwise in groups": nn.Conv2d(4, 4, 1, groups=2),
    "a bias": nn.Conv2d(4, 4, 3, groups=4),
    "7x7": nn.Conv2d(4, 4, 7, groups=4, bias=False),
    "dilated": nn.Conv2d(4, 4, 3, dilation=2, groups=4, bias=False),
    "reflecting": nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False, padding_mode="reflect"),
    "other padding to each side": nn.Conv2d(4, 4, 3, padding=(0, 1), groups=4, bias=False),
    "same": nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False),
    "double precision": nn.Conv2d(4, 4, 3, groups=4, bias=False, dtype=torch.float64),
    "pooling 4x4": nn.MaxPool2d(4),
    "pooling of other sides": nn.MaxPool2d((2, 3)),
    "pooling with indices": nn.MaxPool2d(2, return_indices=True),
    "a forward of its own": Doubling(2),
    "average of parts": nn.AdaptiveAvgPool2d(2),
}


@pytest.mark.parametrize("layer", OTHERS.values(), ids=OTHERS)
def test_other_layers_are_left_to_torch(layer: nn.Module) -> None:
    """Whatever is not exactly one of the known layers is not taken for one."""
    with fast_layers(layer, CPU)():
        assert type(layer).__module__ != "hpo.training.kernels.channels_last"


@pytest.mark.kernels
def test_a_step_trains_by_them(counted: list[str]) -> None:
    """What trains a model enters the context: the kernels run in its steps."""
    pixels = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    batch = ImageSet(pixels, torch.arange(8), torch.full((3,), 0.5), torch.full((3,), 0.25)).batch
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.Flatten(), nn.Linear(1024, 8)
    ).to(memory_format=torch.channels_last)
    recipe = Recipe.read({"batch_size": 8, "lr": 0.1})
    Step(model, batch, build_optimizer(model, recipe, CPU), recipe, CPU)(torch.arange(8))
    assert "_Depthwise" in counted


def test_a_gpu_keeps_torchs() -> None:
    """The kernels read a CPU's memory."""
    layer = nn.MaxPool2d(2)
    with fast_layers(layer, torch.device("cuda"))():
        assert type(layer) is nn.MaxPool2d


@pytest.mark.parametrize("why", ["no compiler", "channels first"])
def test_without_the_kernels_bf16_leaves_depthwise_convolutions_in_float32(
    why: str, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    """torch's own gradient in bf16 takes up to 40 times as long as in float32."""
    layer = copy.deepcopy(LAYERS["depthwise 3x3"][0])  # whose gradients would be those of the next test too
    images = seeded_images(layer, 9).bfloat16()
    if why == "no compiler":
        monkeypatch.setattr(channels_last, "_tried_kernels", lambda: None)
        images = images.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16), fast_layers(layer, CPU)():
        output = layer(images)
    output.sum().backward()
    assert output.dtype == torch.float32
    assert not counted
