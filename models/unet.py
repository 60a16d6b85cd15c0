"""A small U-Net: a class for each pixel, from what surrounds it and from what lies in it.

O. Ronneberger, P. Fischer, T. Brox: U-Net: convolutional networks for biomedical image segmentation, 2015. Here with
batch normalisation and with convolutions that keep the size of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.errors import StudyError

__all__ = ["UNet", "unet"]


def unet(shape: tuple[int, int, int], classes: int, width: int = 16, depth: int = 2) -> UNet:
    """[N, C, H, W] -> logits [N, classes, H, W]. width: channels at full size, twice as many at each of `depth` halves.

    Raises StudyError for images that cannot be halved `depth` times.
    """
    channels, height, width_of_image = shape
    if min(height, width_of_image) < 2**depth:
        raise StudyError(
            f"images of {height}x{width_of_image} cannot be halved {depth} times",
            next=f"give depth={max(1, min(height, width_of_image).bit_length() - 1)} or less",
        )
    return UNet(channels, classes, width, depth)


class UNet(nn.Module):
    """forward: [N, C, H, W] -> logits [N, classes, H, W], of any size: images are padded to whole halves inside."""

    def __init__(self, channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _convolutions(before, after) for before, after in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * one, one, kernel_size=2, stride=2) for one in widths[:-1])
        self.join = nn.ModuleList(_convolutions(2 * one, one) for one in widths[:-1])
        self.head = nn.Conv2d(width, classes, kernel_size=1)
        self._step = 2**depth

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        features = F.pad(images, (0, -width % self._step, 0, -height % self._step))
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else F.max_pool2d(features, 2))
            kept.append(features)
        for level in reversed(range(len(self.up))):
            features = self.join[level](torch.cat([self.up[level](features), kept[level]], dim=1))
        logits: Tensor = self.head(features)
        return logits[:, :, :height, :width]


def _convolutions(before: int, after: int) -> nn.Sequential:
    """Two 3x3 convolutions. Without a bias, which batch normalisation would take away again."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)
