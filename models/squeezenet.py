"""SqueezeNet for small images: fire modules on a 3x3 stem, three poolings, a 1x1 classifier, global average pooling.

F. Iandola et al.: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016, arXiv:1602.07360. With
`squeeze_ratio` 0.125 and `expand3x3_ratio` 0.5 the fire modules are those of torchvision's squeezenet1_0.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from hpo.errors import StudyError

__all__ = ["Fire", "squeezenet"]

STEM = 96
FIRES = (128, 128, 256, 256, 384, 384, 512, 512)
POOL_BEFORE = (0, 3, 7)
"""Fire modules that a pooling comes before: 32x32 becomes 16, 8 and 4 pixels a side."""


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side: [N, C, H, W] -> [N, out, H, W].

    squeeze_ratio:   squeezed channels as a share of `out`
    expand3x3_ratio: share of `out` that the 3x3 convolution makes
    skip:            add the input to the output, where both have the same channels

    Raises StudyError for a part left without a channel.
    """

    def __init__(
        self, channels: int, out: int, squeeze_ratio: float, expand3x3_ratio: float, batch_norm: bool, skip: bool
    ) -> None:
        super().__init__()
        squeezed, expanded3x3 = round(squeeze_ratio * out), round(expand3x3_ratio * out)
        if squeezed < 1 or not 1 <= expanded3x3 < out:
            raise StudyError(
                f"a fire module of {out} channels has a part without channels: {squeezed} squeezed, "
                f"{out - expanded3x3} of 1x1, {expanded3x3} of 3x3",
                evidence=[f"squeeze_ratio={squeeze_ratio:g}, expand3x3_ratio={expand3x3_ratio:g}"],
                next="move the ratio away from 0 and 1",
            )
        self.squeeze = _convolution(channels, squeezed, 1, batch_norm)
        self.expand1x1 = _convolution(squeezed, out - expanded3x3, 1, batch_norm)
        self.expand3x3 = _convolution(squeezed, expanded3x3, 3, batch_norm)
        self.skips = skip and channels == out

    def forward(self, images: Tensor) -> Tensor:
        squeezed = self.squeeze(images)
        expanded = torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1)
        return expanded + images if self.skips else expanded


def squeezenet(
    shape: tuple[int, int, int],
    classes: int,
    squeeze_ratio: float = 0.125,
    expand3x3_ratio: float = 0.5,
    dropout: float = 0.5,
    batch_norm: bool = False,
    bypass: str = "none",
) -> nn.Module:
    """Eight fire modules between a 3x3 stem of 96 and a 1x1 classifier: [N, C, H, W] -> [N, classes].

    batch_norm: after every convolution but the last; bypass: "simple" adds each fire module's input to its output
    where the channels agree (fire modules 2, 4, 6 and 8). Unlike the original there is no ReLU on the logits: it
    silences classes, and with ten of them that shows.
    """
    # The stem's ReLU comes after its pooling: the same function, gradient included, of a quarter of the pixels.
    stem, relu = _convolution(shape[0], STEM, 3, batch_norm), nn.ReLU(inplace=True)
    layers: list[nn.Module] = [stem[:-1]]
    channels = STEM
    for number, out in enumerate(FIRES):
        if number in POOL_BEFORE:
            pooling = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            layers.append(nn.Sequential(pooling, relu) if number == 0 else pooling)
        layers.append(Fire(channels, out, squeeze_ratio, expand3x3_ratio, batch_norm, bypass == "simple"))
        channels = out
    classifier = nn.Conv2d(channels, classes, kernel_size=1)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)  # type: ignore[arg-type]
    # Averaging before the 1x1 convolution is the same function, and cheaper by the number of pixels.
    parts = {
        "features": nn.Sequential(*layers),
        "pool": nn.AdaptiveAvgPool2d(1),
        "dropout": nn.Dropout(dropout),
        "classifier": classifier,
        "flatten": nn.Flatten(),
    }
    return nn.Sequential(OrderedDict(parts))


def _convolution(channels: int, out: int, side: int, batch_norm: bool) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, side, padding=side // 2, bias=not batch_norm)
    nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
    if batch_norm:
        return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return nn.Sequential(convolution, nn.ReLU(inplace=True))
