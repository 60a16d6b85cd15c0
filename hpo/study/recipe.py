"""The training recipe as a literal table: every setting the trainer reads, its default and what it accepts.

A study gives a setting by a row of its space, either searched (`"lr": Float(1e-5, 1e-1, log=True)`) or fixed
(`"schedule": "cosine"`). A setting without a row keeps the default below. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.errors import StudyError, near_miss

__all__ = ["LOSSES", "OPTIMIZERS", "RECIPE", "SCHEDULES", "Setting", "check_value"]

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "nadam", "radam", "adafactor", "lion", "muon")
SCHEDULES = ("none", "cosine", "step", "plateau", "one_cycle")
LOSSES: dict[str, tuple[str, ...]] = {
    "classification": ("cross_entropy", "focal"),
    "multilabel": ("binary_cross_entropy",),
    "regression": ("mse", "mae", "huber"),
    "segmentation": ("cross_entropy",),
}
"""The losses of each task; the first is the usual one."""
PRECISIONS = ("float32", "bf16")

REQUIRED: Any = object()
"""Default of a setting that every study must give."""


@dataclass(frozen=True)
class Setting:
    """One setting: its type, default, bounds or choices, and what it does. Bounds are inclusive unless `open_high`.

    needs: other settings that must have one of the given values for this one to matter, as in
           `{"optimizer": ("sgd", "rmsprop")}` for momentum; otherwise its value is not read.
    unset: what training takes where no configuration gives it and the default is None. A setting that is added later
           has one, so that configurations which were trained before stay the same to the letter.
    own:   how a study brings one of its own, where the choices are not all there is
    """

    kind: type
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] | None = None
    unset: Any = None
    own: str = ""


RECIPE: dict[str, Setting] = {
    "epochs": Setting(
        int, None, "epochs of a trial, and of its schedule, where they are searched; the study's are the most", low=1
    ),
    "batch_size": Setting(int, REQUIRED, "images per step", low=1),
    "accumulate": Setting(int, None, "batches whose gradients add up to one update of the weights", low=1, unset=1),
    "lr": Setting(float, REQUIRED, "peak learning rate", low=0.0, open_low=True),
    "loss": Setting(
        str,
        None,
        "what training minimizes",
        choices=tuple(dict.fromkeys(loss for losses in LOSSES.values() for loss in losses)),
        unset="cross_entropy",
        own='loss=Loss("my_parts:focal") in the study, from hpo import Loss',
    ),
    "focal_gamma": Setting(
        float, None, "of the focal loss: 0 is the cross entropy", low=0.0, unset=2.0, needs={"loss": ("focal",)}
    ),
    "class_weights": Setting(
        str,
        None,
        "balanced: each class counts the same in the loss, however many images it has",
        choices=("none", "balanced"),
        unset="none",
        needs={"loss": LOSSES["classification"]},
    ),
    "optimizer": Setting(
        str,
        "adam",
        "torch.optim class",
        choices=OPTIMIZERS,
        own='optimizer=Optimizer("my_parts:build") in the study, from hpo import Optimizer',
    ),
    "momentum": Setting(
        float, 0.0, "of SGD and RMSprop", low=0.0, high=1.0, open_high=True, needs={"optimizer": ("sgd", "rmsprop")}
    ),
    "nesterov": Setting(bool, False, "Nesterov momentum of SGD", needs={"optimizer": ("sgd",)}),
    "beta1": Setting(
        float,
        None,
        "decay of the average of gradients; of muon, its momentum. Without a row: the optimizer's own, 0.9 or 0.95",
        low=0.0,
        high=1.0,
        open_high=True,
        needs={"optimizer": ("adam", "adamw", "nadam", "radam", "lion", "muon")},
    ),
    "beta2": Setting(
        float,
        None,
        "decay of the average of their squares; of lion, of its state. Without a row: 0.999, of lion 0.99",
        low=0.0,
        high=1.0,
        open_high=True,
        needs={"optimizer": ("adam", "adamw", "nadam", "radam", "lion")},
    ),
    "eps": Setting(
        float,
        None,
        "added to the denominator; without a row 1e-8",
        low=0.0,
        open_low=True,
        needs={"optimizer": ("adam", "adamw", "rmsprop", "nadam", "radam")},
    ),
    "weight_decay": Setting(
        float, 0.0, "L2 for adam, sgd, rmsprop, nadam, radam; decoupled for adamw, adafactor, lion, muon", low=0.0
    ),
    "decay_norm_and_bias": Setting(bool, True, "false: no weight decay on one-dimensional parameters"),
    "schedule": Setting(
        str,
        "none",
        "learning rate over the epochs",
        choices=SCHEDULES,
        own='schedule=Schedule("my_parts:factor") in the study, from hpo import Schedule',
    ),
    "schedule_epochs": Setting(
        int, 10, "epochs between two drops of the step schedule", low=1, needs={"schedule": ("step",)}
    ),
    "schedule_factor": Setting(
        float,
        0.5,
        "of each drop (step, plateau)",
        low=0.0,
        high=1.0,
        open_low=True,
        open_high=True,
        needs={"schedule": ("step", "plateau")},
    ),
    "schedule_patience": Setting(
        int,
        3,
        "epochs without a better validation loss before a drop (plateau)",
        low=0,
        needs={"schedule": ("plateau",)},
    ),
    "schedule_metric": Setting(
        str,
        None,
        "the metric that plateau watches in place of the validation loss",
        unset="val_loss",
        needs={"schedule": ("plateau",)},
    ),
    "warmup_epochs": Setting(float, 0.0, "linear warm-up from lr/100, in epochs", low=0.0),
    "gradient_clip": Setting(float, 0.0, "largest global gradient norm; 0 means no clipping", low=0.0),
    "ema_decay": Setting(
        float,
        0.0,
        "exponential moving average of the weights, used for validation; 0 means none",
        low=0.0,
        high=1.0,
        open_high=True,
    ),
    "label_smoothing": Setting(
        float, 0.0, "of the cross entropy", low=0.0, high=1.0, open_high=True, needs={"loss": ("cross_entropy",)}
    ),
    "mixup_alpha": Setting(float, 0.0, "Beta(alpha, alpha) of mixup; 0 means none", low=0.0),
    "cutmix_alpha": Setting(
        float, None, "Beta(alpha, alpha) of CutMix; 0 means none; beside mixup, each batch has one", low=0.0, unset=0.0
    ),
    "crop_padding": Setting(int, 0, "random crop after padding each side with this many zero pixels", low=0),
    "flip": Setting(bool, False, "random horizontal flip"),
    "alternating_flip": Setting(
        bool, None, "each image is mirrored in every second epoch; goes before flip", unset=False
    ),
    "rotation": Setting(float, 0.0, "random rotation up to this many degrees either way", low=0.0, high=180.0),
    "zoom": Setting(
        float, None, "random size: factors from 1 - zoom to 1 + zoom", low=0.0, high=1.0, open_high=True, unset=0.0
    ),
    "shear": Setting(
        float, None, "random slant up to this many degrees along either axis", low=0.0, high=60.0, unset=0.0
    ),
    "elastic": Setting(
        float,
        None,
        "elastic distortion: pixels of displacement along each axis, a root mean square",
        low=0.0,
        unset=0.0,
    ),
    "elastic_sigma": Setting(
        float,
        None,
        "pixels over which the displacement is smooth; it has no effect without elastic",
        low=1.0,
        unset=4.0,
    ),
    "cutout": Setting(int, 0, "side of a random square set to the mean, in pixels; 0 means none", low=0),
    "random_erasing": Setting(
        float, None, "probability that a rectangle of an image is set to the mean", low=0.0, high=1.0, unset=0.0
    ),
    "brightness": Setting(float, None, "of colour jitter: factors from 1 - brightness to 1 + it", low=0.0, unset=0.0),
    "contrast": Setting(float, None, "of colour jitter, as brightness", low=0.0, unset=0.0),
    "saturation": Setting(float, None, "of colour jitter, as brightness", low=0.0, unset=0.0),
    "hue": Setting(float, None, "of colour jitter: either way round the colour circle", low=0.0, high=0.5, unset=0.0),
    "trivial_augment": Setting(bool, None, "TrivialAugment: one random operation for each image", unset=False),
    "randaugment": Setting(int, None, "RandAugment: so many random operations for each image", low=0, unset=0),
    "randaugment_magnitude": Setting(
        int, None, "how strong the operations of RandAugment are", low=0, high=30, unset=9
    ),
    "test_flip": Setting(
        bool, None, "validation and test take the mean of the outputs for an image and its mirror image", unset=False
    ),
    "freeze_epochs": Setting(int, 0, "epochs in which only the head of a pretrained model trains", low=0),
    "precision": Setting(
        str, "float32", "of activations; bf16 falls back to float32 where a device lacks it", choices=PRECISIONS
    ),
    "channels_last": Setting(bool, False, "memory format of images and convolutions"),
    "deterministic": Setting(bool, False, "torch.use_deterministic_algorithms"),
}


def check_value(name: str, value: Any, setting: Setting) -> None:
    """Raise StudyError, with the rule and the value, unless `setting` accepts `value`."""
    if setting.choices:
        if value not in setting.choices:
            own = getattr(setting, "own", "")  # what a model reads is chosen by its builder
            instead = f"one of them, or one of your own: {own}" if own else ""
            raise StudyError(
                f"{name}={value!r} is not a choice", evidence=[near_miss(str(value), setting.choices)], next=instead
            )
        return
    if setting.kind is str:
        if not isinstance(value, str):
            raise StudyError(f"{name}={value!r} must be text")
        return
    if setting.kind is bool:
        if not isinstance(value, bool):
            raise StudyError(f"{name}={value!r} must be true or false")
        return
    wanted = (int,) if setting.kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise StudyError(f"{name}={value!r} must be {'a whole number' if setting.kind is int else 'a number'}")
    _check_bounds(name, float(value), setting)


def _check_bounds(name: str, value: float, setting: Setting) -> None:
    low, high = setting.low, setting.high
    if low is not None and (value < low or (setting.open_low and value == low)):
        raise StudyError(f"{name}={value:g} must be {'above' if setting.open_low else 'at least'} {low:g}")
    if high is not None and (value > high or (setting.open_high and value == high)):
        raise StudyError(f"{name}={value:g} must be {'below' if setting.open_high else 'at most'} {high:g}")
    if value != value or value in (float("inf"), float("-inf")):
        raise StudyError(f"{name}={value} is not finite")
