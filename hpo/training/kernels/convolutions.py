"""The convolutions at the beginning of a small network, by the kernels of convolution.c.

A stage is a convolution, 2x2 max pooling and ReLU in one pass. torch takes several passes, with kernels that are made
for many channels; LeNet has 1, 6 and 16.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpo.training.kernels.native import library
from hpo.training.kernels.rounding import agree

__all__ = ["ConvPoolReluBlock", "Convolutions", "Shape", "read_stages", "usable"]

KERNELS = (3, 5)


class Shape(ctypes.Structure):
    """As in chain.h."""

    _fields_ = tuple(
        (name, ctypes.c_int32) for name in ("groups", "inputs", "outputs", "height", "width", "kernel", "out_pad")
    )


@dataclass(frozen=True)
class ConvPoolReluBlock:
    """[N, I, height, width] -> relu(max_pool2d(conv2d(x, weight, bias, padding), 2)) [N, O, rows, columns]."""

    weight: Tensor
    bias: Tensor
    padding: int
    height: int
    width: int

    @property
    def kernel(self) -> int:
        return self.weight.shape[2]

    @property
    def rows(self) -> int:
        return (self.height + 2 * self.padding - self.kernel + 1) // 2

    @property
    def columns(self) -> int:
        return (self.width + 2 * self.padding - self.kernel + 1) // 2

    def scratch(self, lanes: int) -> Tensor:
        """Working memory for the backward pass; zeros at first."""
        outputs, inputs, kernel, _ = self.weight.shape
        spread = 2 * self.rows * (2 * self.columns + 2 * (kernel - 1))
        return torch.zeros((outputs + outputs * inputs * kernel * kernel + outputs * spread) * lanes)


def read_stages(modules: Sequence[nn.Module], shape: tuple[int, int, int]) -> list[ConvPoolReluBlock]:
    """The stages that `modules` begin with, on images [C, H, W] = `shape`. Each is three modules long."""
    _, height, width = shape
    stages: list[ConvPoolReluBlock] = []
    for first, *others in zip(modules[::3], modules[1::3], modules[2::3], strict=False):
        if not (_convolution(first) and {type(other) for other in others} == {nn.MaxPool2d, nn.ReLU}):
            break
        pooling = next(other for other in others if isinstance(other, nn.MaxPool2d))
        assert isinstance(first, nn.Conv2d)
        assert first.bias is not None
        stage = ConvPoolReluBlock(first.weight, first.bias, int(first.padding[0]), height, width)
        even = (stage.height + 2 * stage.padding - stage.kernel + 1) % 2 == 0
        even &= (stage.width + 2 * stage.padding - stage.kernel + 1) % 2 == 0
        if not (even and stage.rows > 0 and stage.columns > 0 and _halving(pooling)):
            break
        stages.append(stage)
        height, width = stage.rows, stage.columns
    return stages


class Memory:
    """The memory that the stages read and write for `groups` groups of images; zero padding is written only here."""

    def __init__(self, stages: Sequence[ConvPoolReluBlock], groups: int, lanes: int) -> None:
        first = stages[0]
        self.shapes: list[Shape] = []
        self.arrays = [_padded(groups, first.weight.shape[1], first.height, first.width, first.padding, lanes)]
        self.argmax: list[Tensor] = []
        for number, stage in enumerate(stages):
            outputs, inputs, kernel, _ = stage.weight.shape
            padding = stages[number + 1].padding if number + 1 < len(stages) else 0
            high, wide = stage.height + 2 * stage.padding, stage.width + 2 * stage.padding
            self.shapes.append(Shape(groups, inputs, outputs, high, wide, kernel, padding))
            self.arrays.append(_padded(groups, outputs, stage.rows, stage.columns, padding, lanes))
            self.argmax.append(torch.zeros((groups, outputs, stage.rows, stage.columns, lanes), dtype=torch.int8))
        self.gradients = [torch.zeros_like(array) for array in self.arrays]


class Convolutions:
    """The stages in a row: images [N, C, H, W] -> features [N, F]. `backward` belongs to the last `forward`."""

    def __init__(self, stages: Sequence[ConvPoolReluBlock], kernels: ctypes.CDLL) -> None:
        self.stages = tuple(stages)
        self._kernels = kernels
        self._lanes: int = kernels.lanes()
        self._memories: dict[int, Memory] = {}
        self._scratch = [stage.scratch(self._lanes) for stage in stages]
        self._count = 0

    @classmethod
    def of(cls, stages: Sequence[ConvPoolReluBlock]) -> Convolutions | None:
        """None where there are no kernels, or they fail their trial."""
        kernels = _tried_kernels()
        return None if kernels is None else cls(stages, kernels)

    def forward(self, images: Tensor) -> Tensor:
        count, channels, height, width = images.shape
        images = images.contiguous()
        memory = self.memory(count)
        self._count = count
        lib, first, last = self._kernels, self.stages[0], self.stages[-1]
        lib.to_lanes(_at(images), count, channels, height, width, first.padding, _at(memory.arrays[0]))
        for number, stage in enumerate(self.stages):
            x, y = memory.arrays[number : number + 2]
            argmax = memory.argmax[number]
            lib.stage_forward(memory.shapes[number], _at(x), _at(stage.weight), _at(stage.bias), _at(y), _at(argmax))
        features = images.new_empty((count, last.weight.shape[0] * last.rows * last.columns))
        lib.from_lanes(_at(memory.arrays[-1]), count, features.shape[1], _at(features))
        return features

    def backward(self, grad_output: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """From the gradient of the features [N, F] to those of (weight, bias), the last stage's first."""
        memory, lib = self.memory(self._count), self._kernels
        grad_output = grad_output.contiguous()
        lib.to_lanes(_at(grad_output), self._count, grad_output.shape[1], 1, 1, 0, _at(memory.gradients[-1]))
        for number in reversed(range(len(self.stages))):
            stage = self.stages[number]
            gradients = torch.empty_like(stage.weight), torch.empty_like(stage.bias)
            lib.stage_backward(
                memory.shapes[number],
                _at(memory.arrays[number]),
                _at(stage.weight),
                _at(memory.arrays[number + 1]),
                _at(memory.argmax[number]),
                _at(memory.gradients[number + 1]),
                _at(memory.gradients[number]) if number else None,
                _at(self._scratch[number]),
                *map(_at, gradients),
            )
            yield gradients

    def memory(self, count: int) -> Memory:
        """For up to `count` images."""
        groups = -(-count // self._lanes)
        if groups not in self._memories:
            self._memories[groups] = Memory(self.stages, groups, self._lanes)
        return self._memories[groups]


def usable() -> bool:
    """Whether this machine's compiler made kernels, and they compute what torch does."""
    return _tried_kernels() is not None


@cache
def _tried_kernels() -> ctypes.CDLL | None:
    """The kernels, if they compute what torch computes as this machine's compiler built them."""
    kernels = library("chain")
    if kernels is None:
        return None
    _declare(kernels)
    random = torch.Generator().manual_seed(0)  # its own: a trial's random numbers must not depend on this
    x, w, b, g = (torch.randn(shape, generator=random) for shape in ((5, 2, 6, 6), (7, 2, 3, 3), (7,), (5, 63)))
    with torch.inference_mode(False), torch.enable_grad():
        weight, bias = w.double().requires_grad_(), b.double().requires_grad_()
        expected = F.relu(F.max_pool2d(F.conv2d(x.double(), weight, bias, padding=1), 2)).flatten(1)
        gradients = torch.autograd.grad((expected * g.double()).sum(), (weight, bias))
    convolutions = Convolutions([ConvPoolReluBlock(w, b, padding=1, height=6, width=6)], kernels)
    found = [convolutions.forward(x), *next(convolutions.backward(g))]
    return kernels if agree(found, (expected.detach(), *gradients)) else None


def _declare(kernels: ctypes.CDLL) -> None:
    pointer, number, shape = ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(Shape)
    kernels.lanes.argtypes, kernels.lanes.restype = (), number
    kernels.to_lanes.argtypes = (pointer, number, number, number, number, number, pointer)
    kernels.from_lanes.argtypes = (pointer, number, number, pointer)
    kernels.stage_forward.argtypes = (shape, *[pointer] * 5)
    kernels.stage_backward.argtypes = (shape, *[pointer] * 9)
    for function in (kernels.to_lanes, kernels.from_lanes, kernels.stage_forward, kernels.stage_backward):
        function.restype = None


def _convolution(module: nn.Module) -> bool:
    if type(module) is not nn.Conv2d or module.bias is None or isinstance(module.padding, str):
        return False
    padding, weight = module.padding, module.weight
    return (
        (module.stride, module.dilation, module.groups, module.padding_mode) == ((1, 1), (1, 1), 1, "zeros")
        and padding[0] == padding[1]
        and module.kernel_size in {(size, size) for size in KERNELS}
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and weight.is_contiguous()
    )


def _halving(pooling: nn.MaxPool2d) -> bool:
    sides = {pooling.kernel_size, pooling.stride} <= {2, (2, 2)}
    return (
        sides and not pooling.ceil_mode and not pooling.return_indices and (pooling.padding, pooling.dilation) == (0, 1)
    )


def _padded(groups: int, planes: int, rows: int, columns: int, padding: int, lanes: int) -> Tensor:
    return torch.zeros((groups, planes, rows + 2 * padding, columns + 2 * padding, lanes))


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()
