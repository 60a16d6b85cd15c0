"""The recipe of one job as a typed record, so that hot code reads attributes instead of a dictionary."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from hpo.errors import StudyError
from hpo.messages import Job
from hpo.study.recipe import LOSSES, RECIPE, REQUIRED, check_value

__all__ = ["Recipe", "derive_seed", "of_its_length"]


@dataclass(frozen=True)
class Recipe:
    """Every setting of `hpo.study.recipe.RECIPE`, with its default where a configuration does not name it."""

    epochs: int | None
    batch_size: int
    accumulate: int
    lr: float
    loss: str
    focal_gamma: float
    class_weights: str
    optimizer: str
    momentum: float
    nesterov: bool
    beta1: float | None
    beta2: float | None
    eps: float | None
    weight_decay: float
    decay_norm_and_bias: bool
    schedule: str
    schedule_epochs: int
    schedule_factor: float
    schedule_patience: int
    schedule_metric: str
    warmup_epochs: float
    gradient_clip: float
    ema_decay: float
    label_smoothing: float
    mixup_alpha: float
    cutmix_alpha: float
    crop_padding: int
    flip: bool
    alternating_flip: bool
    rotation: float
    zoom: float
    shear: float
    elastic: float
    elastic_sigma: float
    cutout: int
    random_erasing: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    trivial_augment: bool
    randaugment: int
    randaugment_magnitude: int
    test_flip: bool
    freeze_epochs: int
    precision: str
    channels_last: bool
    deterministic: bool

    @property
    def batch_images(self) -> int:
        """Images for one update of the weights."""
        return self.batch_size * self.accumulate

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with one another, and their losses."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0

    @property
    def plain(self) -> bool:
        """Whether it is one of those that the faster ways of training are made for."""
        return self.loss == "cross_entropy" and self.class_weights == "none" and self.accumulate == 1

    @classmethod
    def read(cls, config: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]] | None = None) -> Recipe:
        """The settings in `config`, which also has model parameters. StudyError names a bad or missing one.

        parts: the parts of the study's own (Job.parts): only these may be chosen beside hpo's
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            setting = RECIPE[field.name]
            value = config.get(field.name, setting.default)
            if value is REQUIRED:
                raise StudyError(f"the configuration gives no {field.name}", next=f"add a row {field.name!r}")
            if value is None:
                usual = LOSSES.get(str((parts or {}).get("task"))) if field.name == "loss" else None
                value = usual[0] if usual else setting.unset
            elif not isinstance(value, str) or value not in (parts or {}).get(field.name, ()):
                check_value(field.name, value, setting)
            values[field.name] = float(value) if setting.kind is float and value is not None else value
        return cls(**values)


def of_its_length(job: Job) -> Job:
    """`job` with the epochs that its configuration gives it, where they are a row of the study: schedules end there."""
    epochs, protocol = job.config.get("epochs"), job.protocol
    if epochs is None:
        return job
    check_value("epochs", epochs, RECIPE["epochs"])
    length = min(epochs, protocol.epochs)
    stop_after = None if protocol.stop_after is None else min(protocol.stop_after, length)
    return replace(job, protocol=replace(protocol, epochs=length, stop_after=stop_after))


def derive_seed(seed: int, *purpose: object) -> int:
    """A seed of 63 bits for one purpose, as in `derive_seed(seed, "order", epoch)`, unrelated to other purposes."""
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
