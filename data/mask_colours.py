"""The colour of each class in a picture of masks. No torch here."""

from __future__ import annotations

__all__ = ["UNCOUNTED", "colour_of", "palette"]

UNCOUNTED = (128, 128, 128)
"""Of pixels that do not count."""

_COLOURS = (
    (24, 24, 32), (230, 159, 0), (86, 180, 233), (0, 158, 115),
    (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""The colours of Okabe and Ito, told apart by eyes of every kind. The first class is most often the ground."""


def colour_of(label: int) -> tuple[int, int, int]:
    """(red, green, blue) of the class `label`, 0..255. From the ninth class on they are darker, and may repeat."""
    red, green, blue = _COLOURS[label % len(_COLOURS)]
    turn = 1 + label // len(_COLOURS) % 4
    return red // turn, green // turn, blue // turn


def palette() -> list[int]:
    """As Pillow takes it for an image of 0..255: red, green, blue of each."""
    colours = [colour_of(label) for label in range(255)]
    return [value for colour in [*colours, UNCOUNTED] for value in colour]
