"""LeNet-5 as it is trained today: max pooling, ReLU, a linear head.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition, 1998.
"""

from __future__ import annotations

from torch import nn

from hpo.errors import StudyError

__all__ = ["lenet"]

SMALLEST, LARGEST = 28, 32


def lenet(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """[N, C, H, W] -> 6 maps of 5x5 -> pool -> 16 maps of 5x5 -> pool -> 120 -> 84 -> [N, classes].

    Images of 28..32 pixels a side; those below 32 are zero-padded towards it (by 2 at 28), so that 28 and 32 both
    give the 16x5x5 features of the original. Raises StudyError for any other size.
    """
    channels, height, width = shape
    if not (SMALLEST <= height <= LARGEST and SMALLEST <= width <= LARGEST):
        raise StudyError(
            f"lenet takes images of {SMALLEST} to {LARGEST} pixels a side, not {height}x{width}",
            next="choose another model or data set",
        )
    padding = ((LARGEST - height) // 2, (LARGEST - width) // 2)
    features = 16 * _features(height, padding[0]) * _features(width, padding[1])
    # ReLU(max) equals max(ReLU), and after pooling there is a quarter of the values to clip.
    return nn.Sequential(
        nn.Conv2d(channels, 6, kernel_size=5, padding=padding),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(features, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def _features(side: int, padding: int) -> int:
    """Side of the last feature map: two 5x5 convolutions, each followed by 2x2 pooling."""
    after_first = (side + 2 * padding - 4) // 2
    return (after_first - 4) // 2
