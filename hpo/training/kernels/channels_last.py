"""The kernels of channels_last.c for layers of channels-last networks whose gradients are slow in torch on a CPU.

`fast_layers(model, device)` is a context in which the model's modules of these kinds compute the same, but faster;
outside it the model is as its builder made it. torch's results are the specification (tests/unit/training).
Milliseconds for a gradient at batch 128, in torch and here, on one Zen 5 core:

    depthwise 5x5, 240 channels of 4x4    float32   2.7   0.7     bf16   11.5   0.6
    depthwise 5x5, 288 channels of 4x4/2  float32   2.5   0.4     bf16   92.8   0.4
    max pooling 3x3/2, 96 of 32x32        float32  16.7   5.2     bf16    7.2   3.4

1x1 convolutions in bf16 are matrix products: those of MobileNet V3 small take 16.3 ms as convolutions and 8.9 ms here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hpo.training.kernels.choice import DEFAULT, Choice
from hpo.training.kernels.native import library
from hpo.training.kernels.rounding import agree

__all__ = ["fast_layers", "usable"]


class Images(ctypes.Structure):
    """`Shape` in channels_last.c."""

    _fields_ = tuple(
        (name, ctypes.c_int32)
        for name in (
            *("images", "channels", "height", "width", "high", "wide"),
            *("rows", "columns", "kernel", "stride", "padding", "half"),
        )
    )


def fast_layers(
    model: nn.Module, device: torch.device, choice: Choice = DEFAULT
) -> Callable[[], AbstractContextManager[None]]:
    """A context for a training forward pass; the backward pass may come after it."""
    swaps = [(module, type(module), _substitute(module, choice)) for module in model.modules() if device.type == "cpu"]
    swaps = [(module, own, other) for module, own, other in swaps if other is not own]
    if not swaps:
        return nullcontext

    @contextmanager
    def swapped() -> Iterator[None]:
        for module, _, other in swaps:
            module.__class__ = other
        try:
            yield
        finally:
            for module, own, _ in swaps:
                module.__class__ = own

    return swapped


class _DepthwiseConv2d(nn.Conv2d):
    @staticmethod
    def _kernels() -> ctypes.CDLL | None:
        return _tried_kernels()

    def forward(self, input: Tensor) -> Tensor:
        kernels = self._kernels() if _channels_last(input) else None
        if kernels is None:
            with torch.autocast("cpu", enabled=False):  # its bf16 gradient takes up to 40 times as long
                return F.conv2d(input.float(), self.weight, None, self.stride, self.padding, groups=len(self.weight))
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            input, weight = input.to(torch.bfloat16), weight.to(torch.bfloat16)
        output: Tensor = _Depthwise.apply(input, weight, self.stride[0], self.padding[0], kernels)
        return output


class _TorchDepthwiseConv2d(_DepthwiseConv2d):
    """By torch, in float32 under autocast too."""

    @staticmethod
    def _kernels() -> None:
        return None


class _PointwiseConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        # The gradient of a bias sums columns in bf16, which for many pixels costs more than this way saves.
        few = self.bias is None or input.shape[2:].numel() == 1
        if not (few and torch.is_autocast_enabled("cpu") and _channels_last(input)):
            return super().forward(input)
        weight = self.weight.view(self.out_channels, self.in_channels)
        return F.linear(input.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)


class _MaxPool2d(nn.MaxPool2d):
    def forward(self, input: Tensor) -> Tensor:
        kernels = _tried_kernels() if _channels_last(input) else None
        output: Tensor = super().forward(input) if kernels is None else _MaxPool.apply(input, self, kernels)
        return output


class _GlobalAvgPool2d(nn.AdaptiveAvgPool2d):
    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = _Mean.apply(input)
        return output


class _Depthwise(torch.autograd.Function):
    """conv2d with a group for every channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int, kernels: ctypes.CDLL) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = stride, padding, kernels
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, kernels = ctx.how
        grad_output = grad_output.contiguous(memory_format=torch.channels_last)
        channels, _, kernel, _ = weight.shape
        images = _images(x, grad_output, kernel, stride, padding)
        taps = weight.detach().reshape(channels, -1).t().float().contiguous()
        dx, dw = torch.empty_like(x), torch.empty_like(taps)
        scratch = torch.empty(2 * images.high * images.wide * kernels.lanes())
        kernels.depthwise_backward(images, _at(x), _at(taps), _at(grad_output), _at(dx), _at(dw), _at(scratch))
        return dx, dw.t().reshape(weight.shape).to(weight.dtype), None, None, None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, module: nn.MaxPool2d, kernels: ctypes.CDLL) -> Tensor:
        kernel, stride, padding = (_side(value) for value in (module.kernel_size, module.stride, module.padding))
        like = x[:1, :1].to("meta")
        rows, columns = F.max_pool2d(like, kernel, stride, padding, ceil_mode=module.ceil_mode).shape[2:]
        y = x.new_empty((*x.shape[:2], rows, columns)).to(memory_format=torch.channels_last)
        argmax = torch.empty(y.numel(), dtype=torch.uint8)
        images = _images(x, y, kernel, stride, padding)
        scratch = torch.empty(images.high * images.wide * kernels.lanes())
        kernels.pool_forward(images, _at(x), _at(y), _at(argmax), _at(scratch))
        ctx.save_for_backward(argmax)
        ctx.how = images, x.shape, kernels
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        images, shape, kernels = ctx.how
        (argmax,) = ctx.saved_tensors
        grad_output = grad_output.contiguous(memory_format=torch.channels_last)
        dx = torch.empty(shape, dtype=grad_output.dtype, memory_format=torch.channels_last)
        scratch = torch.empty(images.high * images.wide * kernels.lanes())
        kernels.pool_backward(images, _at(grad_output), _at(argmax), _at(dx), _at(scratch))
        return dx, None, None


class _Mean(torch.autograd.Function):
    """The mean over pixels. torch writes its gradient out channels first; what it is added to is channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return F.adaptive_avg_pool2d(x, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        spread: Tensor = (grad_output / (ctx.shape[2] * ctx.shape[3])).expand(ctx.shape)
        return spread


def _substitute(module: nn.Module, choice: Choice) -> type[nn.Module]:
    """The class that computes the same as `module`, but faster; the module's own where there is none."""
    kind = type(module)
    if not choice.native:
        return kind
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d and _depthwise(module):
        return _DepthwiseConv2d if choice.depthwise else _TorchDepthwiseConv2d
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d and choice.pointwise and _pointwise(module):
        return _PointwiseConv2d
    if isinstance(module, nn.MaxPool2d) and kind is nn.MaxPool2d and choice.pooling and _windowed(module):
        return _MaxPool2d
    if kind is nn.AdaptiveAvgPool2d and module.output_size in {1, (1, 1)}:
        return _GlobalAvgPool2d
    return kind


def _depthwise(module: nn.Conv2d) -> bool:
    same = all(len(set(value)) == 1 for value in (module.kernel_size, module.stride, module.padding))
    plain = module.bias is None and module.padding_mode == "zeros" and module.dilation == (1, 1)
    each = module.groups == module.in_channels == module.out_channels > 1
    return same and plain and each and module.kernel_size[0] in {3, 5} and module.weight.dtype == torch.float32


def _pointwise(module: nn.Conv2d) -> bool:
    plain = module.groups == 1 and module.weight.dtype == torch.float32
    return plain and (module.kernel_size, module.stride, module.padding) == ((1, 1), (1, 1), (0, 0))


def _windowed(module: nn.MaxPool2d) -> bool:
    whole = all(isinstance(value, int) for value in (module.kernel_size, module.stride, module.padding))
    return whole and module.kernel_size in {2, 3} and module.dilation == 1 and not module.return_indices


def _channels_last(x: Tensor) -> bool:
    kept = x.dtype in {torch.float32, torch.bfloat16}
    return kept and x.device.type == "cpu" and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _images(x: Tensor, y: Tensor, kernel: int, stride: int, padding: int) -> Images:
    count, channels, height, width = x.shape
    rows, columns = y.shape[2:]
    # A window at the lower or right edge may reach beyond the padding (ceil_mode), and padding beyond the last window.
    high = max(height + 2 * padding, (rows - 1) * stride + kernel)
    wide = max(width + 2 * padding, (columns - 1) * stride + kernel)
    half = x.dtype == torch.bfloat16
    return Images(count, channels, height, width, high, wide, rows, columns, kernel, stride, padding, half)


def usable() -> bool:
    """Whether this machine's compiler made kernels, and they compute what torch does."""
    return _tried_kernels() is not None


@cache
def _tried_kernels() -> ctypes.CDLL | None:
    """The kernels, if they compute what torch computes as this machine's compiler built them."""
    kernels = library("channels_last")
    if kernels is None:
        return None
    _declare(kernels)
    random = torch.Generator().manual_seed(0)
    x, w, g = (torch.randn(shape, generator=random) for shape in ((2, 20, 9, 9), (20, 1, 3, 3), (2, 20, 5, 5)))
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        exact = [value.double().requires_grad_() for value in (x, w)]
        y = F.conv2d(F.max_pool2d(exact[0], 3, 1, 1), exact[1], None, 2, 1, 1, 20)
        gradients = torch.autograd.grad((y * g.double()).sum(), exact)
        ours = [x.to(memory_format=torch.channels_last, copy=True).requires_grad_(), w.clone().requires_grad_()]
        y = _Depthwise.apply(_MaxPool.apply(ours[0], nn.MaxPool2d(3, 1, 1), kernels), ours[1], 2, 1, kernels)
        found = torch.autograd.grad((y * g).sum(), ours)
    return kernels if agree(found, gradients) else None


def _declare(kernels: ctypes.CDLL) -> None:
    pointer, images = ctypes.c_void_p, ctypes.POINTER(Images)
    kernels.lanes.argtypes, kernels.lanes.restype = (), ctypes.c_int32
    kernels.depthwise_backward.argtypes = (images, *[pointer] * 6)
    kernels.pool_forward.argtypes = kernels.pool_backward.argtypes = (images, *[pointer] * 4)
    for function in (kernels.depthwise_backward, kernels.pool_forward, kernels.pool_backward):
        function.restype = None


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()
