"""A task of one's own: a direction, 0 to 360 degrees. That 359 and 1 are neighbours, mse does not know."""

import math

import torch

from hpo.data import RawImages, checksum


def load(split, folders):
    """Made-up pictures [N, 1, 16, 16] of a spot in some direction from the middle, and the directions [N, 1]."""
    random = torch.Generator().manual_seed({"train": 1, "test": 2}[split])
    degrees = 360 * torch.rand(400 if split == "train" else 100, 1, generator=random)
    radians = torch.deg2rad(degrees)[:, :, None]
    rows, columns = (torch.linspace(-1, 1, 16).view(shape) for shape in ((1, 16, 1), (1, 1, 16)))
    apart = (rows - 0.6 * radians.sin()) ** 2 + (columns - 0.6 * radians.cos()) ** 2
    images = (255 * torch.exp(-8 * apart)).to(torch.uint8).unsqueeze(1)
    return RawImages(images, degrees, checksum(images, degrees))


def angle_of(outputs):
    """Two numbers [N, 2] as degrees [N, 1]."""
    return torch.rad2deg(torch.atan2(outputs[:, 1:], outputs[:, :1])) % 360


def loss(outputs, targets):
    radians = torch.deg2rad(targets)
    return torch.nn.functional.mse_loss(outputs, torch.cat([radians.cos(), radians.sin()], dim=1))


def degrees_off(outputs, targets):
    """The mean angle between the predicted direction and the true one, 0 to 180."""
    apart = (angle_of(outputs) - targets).abs()
    return torch.minimum(apart, 360 - apart).mean()


def check(targets, classes):
    if targets.min() < 0 or targets.max() >= 360:
        raise ValueError(f"{targets.min():g} to {targets.max():g} degrees, expected 0 to 360")


def say(output, classes):
    """What `hpo predict` prints of one image."""
    return {"degrees": round(float(angle_of(output[None])), 1), "sure": round(math.hypot(*output.tolist()), 2)}
