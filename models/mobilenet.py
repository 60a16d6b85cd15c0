"""MobileNet V1, V2 and V3. V2 and V3 are torchvision's, with a stem that suits small images and a head of our own.

V1: A. Howard et al., 2017, arXiv:1704.04861. V2: M. Sandler et al., 2018, arXiv:1801.04381.
V3: A. Howard et al., 2019, arXiv:1905.02244.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision import models as zoo

from hpo.errors import StudyError
from hpo.models.pretrained import Resized, load_pretrained

__all__ = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]

Shape = tuple[int, int, int]

V1_STEM = 32
V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""(channels, stride) of each depthwise-separable block, before the width multiplier."""


def mobilenet_v1(
    shape: Shape, classes: int, width: float = 1.0, stem_stride: int = 1, dropout: float = 0.0
) -> nn.Module:
    """Thirteen depthwise-separable blocks: [N, C, H, W] -> [N, classes]. The original has stem_stride 2.

    width: multiplies every channel count; StudyError when the stem rounds to no channel.
    """
    channels = _channels(V1_STEM, width)
    layers: list[nn.Module] = _normalised(nn.Conv2d(shape[0], channels, 3, stem_stride, padding=1, bias=False))
    for base, stride in V1_BLOCKS:
        out = _channels(base, width)
        layers += _normalised(nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False))
        layers += _normalised(nn.Conv2d(channels, out, 1, bias=False))
        channels = out
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    classifier = nn.Linear(channels, classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), classifier)


def mobilenet_v2(
    shape: Shape,
    classes: int,
    width: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.2,
    pretrained: bool = False,
    resize: int = 0,
) -> nn.Module:
    """torchvision's mobilenet_v2: [N, C, H, W] -> [N, classes]; see `_from_zoo` for the parameters."""
    weights = zoo.MobileNet_V2_Weights.IMAGENET1K_V2 if pretrained else None
    return _from_zoo(zoo.mobilenet_v2, weights, shape, classes, width, stem_stride, dropout, resize)


def mobilenet_v3_small(
    shape: Shape,
    classes: int,
    width: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.2,
    pretrained: bool = False,
    resize: int = 0,
) -> nn.Module:
    """torchvision's mobilenet_v3_small: [N, C, H, W] -> [N, classes]; see `_from_zoo` for the parameters."""
    weights = zoo.MobileNet_V3_Small_Weights.IMAGENET1K_V1 if pretrained else None
    return _from_zoo(zoo.mobilenet_v3_small, weights, shape, classes, width, stem_stride, dropout, resize)


def mobilenet_v3_large(
    shape: Shape,
    classes: int,
    width: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.2,
    pretrained: bool = False,
    resize: int = 0,
) -> nn.Module:
    """torchvision's mobilenet_v3_large: [N, C, H, W] -> [N, classes]; see `_from_zoo` for the parameters."""
    weights = zoo.MobileNet_V3_Large_Weights.IMAGENET1K_V2 if pretrained else None
    return _from_zoo(zoo.mobilenet_v3_large, weights, shape, classes, width, stem_stride, dropout, resize)


def _from_zoo(
    builder: Callable[..., nn.Module],
    weights: zoo.WeightsEnum | None,
    shape: Shape,
    classes: int,
    width: float,
    stem_stride: int,
    dropout: float,
    resize: int,
) -> nn.Module:
    """A network of torchvision.

    width:       multiplies every channel count, rounded to a multiple of 8, at least 8
    stem_stride: 2 as in the original; 1 keeps four times the pixels, which is what 32x32 images need
    weights:     of ImageNet; the head is new. They need 3 channels and width 1, else StudyError
    resize:      pixels a side that images are scaled to (bilinear) on their device; 0 leaves them as they are
    """
    model = builder(num_classes=classes, width_mult=width, dropout=dropout)
    stem = model.get_submodule("features.0.0")
    assert isinstance(stem, nn.Conv2d)
    if weights is not None:
        if shape[0] != 3 or width != 1.0:
            raise StudyError(
                f"pretrained weights are for images of 3 channels and width 1, not {shape[0]} and {width:g}",
                next="fix width to 1.0, or pretrained to False",
            )
        load_pretrained(model, weights, head="classifier")
    elif shape[0] != stem.in_channels:
        stem = nn.Conv2d(shape[0], stem.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out")
        model.get_submodule("features.0").register_module("0", stem)
    stem.stride = (stem_stride, stem_stride)
    return Resized(model, resize) if resize else model


def _channels(base: int, width: float) -> int:
    channels = round(base * width)
    if channels < 1:
        raise StudyError(f"width={width:g} leaves none of {base} channels", next="raise the row's lower end")
    return channels


def _normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]
