"""Image files to pixels, one by one. No torch here."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Unreadable", "decode_share", "fitted", "opened", "prepare", "squeezed"]

Shape = tuple[int, int, int]


class Unreadable(ValueError):
    """A file that is not an image with 8 bits per channel, and why."""


def opened(path: str | Path, shape: Shape, *, at_least: tuple[int, int] | None = None) -> Image:
    """The image, in grey for shape[0] = 1 and else in colour, turned as its camera says; transparency becomes black.

    at_least: (width, height) that are enough: a JPEG is then decoded at a half, a quarter or an eighth of its size
    Raises Unreadable, FileNotFoundError.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    mode = "L" if shape[0] == 1 else "RGB"
    try:
        with open(path, "rb", buffering=0) as source:
            content = io.BytesIO(source.read())  # at once: PIL asks for its header piece by piece
        with Image.open(content) as file:
            if at_least is not None and file.format == "JPEG":
                side = max(at_least)  # whichever way it will be turned
                file.draft(None, (side, side))
            file.load()
            image: Image.Image = file if file.mode == mode else file.copy()
            if "exif" in file.info:
                image = ImageOps.exif_transpose(image)
            if "transparency" in file.info or image.mode in ("LA", "PA"):
                image = image.convert("RGBA")
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(f" {str(path)!r}", "")
        raise Unreadable(reason.partition(" <_io.BytesIO")[0]) from None
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode.startswith(("I", "F")):
        raise Unreadable(f"it has more than 8 bits per channel (mode {image.mode})")
    return image if image.mode == mode else image.convert(mode)


def fitted(path: str | Path, shape: Shape) -> NDArray[np.uint8]:
    """uint8 [C, H, W] = `shape`: scaled until it covers H x W, and cut to its middle, as torchvision's
    Resize and CenterCrop do, to within 1 of 255."""
    from PIL import Image

    _, height, width = shape
    image = opened(path, shape, at_least=(width, height))
    if image.size != (width, height):
        scale = max(width / image.width, height / image.height)
        wide, high = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        left, top = round((wide - width) / 2), round((high - height) / 2)
        if (wide, high) == image.size:
            image = image.crop((left, top, left + width, top + height))
        else:  # only the middle is scaled: what is cut off costs nothing
            across, down = image.width / wide, image.height / high
            middle = (left * across, top * down, (left + width) * across, (top + height) * down)
            image = image.resize((width, height), Image.Resampling.BILINEAR, box=middle)
    return pixels(image)


def squeezed(path: str | Path, shape: Shape) -> NDArray[np.uint8]:
    """uint8 [C, H, W] = `shape`: the whole image, scaled in each direction as it needs."""
    from PIL import Image

    image, size = opened(path, shape), (shape[2], shape[1])
    return pixels(image if image.size == size else image.resize(size, Image.Resampling.LANCZOS))


def pixels(image: Image) -> NDArray[np.uint8]:
    """uint8 [C, H, W]."""
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def decode_share(paths: Sequence[str], shape: Shape, out: NDArray[np.uint8]) -> list[tuple[str, str]]:
    """Fill `out`, uint8 [N, *shape], with the images, and list (path, reason) of those that cannot be read."""
    broken = []
    for at, path in enumerate(paths):
        try:
            out[at] = fitted(path, shape)
        except Unreadable as error:
            broken.append((path, str(error)))
        except FileNotFoundError:
            broken.append((path, "it is gone"))
    return broken


def prepare() -> None:
    """Import what decodes, once, before processes are copied that do it."""
    from PIL import Image

    Image.preinit()
