"""Checks that something reads every row, and that every reader has its row, without building a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.data import Dataset, Tensor, Torch
from hpo.errors import StudyError, near_miss
from hpo.models import NAMED, Model
from hpo.study.length import check_length
from hpo.study.parameters import Parameter, edge_values
from hpo.study.parts import Parts
from hpo.study.protocol import check_metric
from hpo.study.recipe import RECIPE, REQUIRED, check_value
from hpo.study.space import Space
from hpo.study.tasks import TASKS

__all__ = ["check_rows", "table_row"]

OF_COLOURS = ("brightness", "contrast", "saturation", "hue", "trivial_augment", "randaugment", "randaugment_magnitude")
"""Settings of the recipe that are read for images of 1 or 3 channels, grey or colour."""

OF_IMAGES = (
    "crop_padding", "flip", "alternating_flip", "rotation", "zoom", "shear", "elastic", "elastic_sigma", "cutout",
    "random_erasing", "cutmix_alpha", "test_flip",
    "channels_last", *OF_COLOURS,
)  # fmt: skip
"""Settings of the recipe that are read for images alone."""


MOST_MASK_CLASSES = 255
"""A mask is kept in bytes, and 255 is a pixel that does not count."""

OF_MASKS = ("crop_padding", "flip", "channels_last")
"""Those that a mask follows."""


def check_rows(study: Any, parts: Parts) -> None:
    """Raise StudyError for rows of a hpo.study.study.Study that its model, data set, parts and recipe cannot use."""
    _check_shape(study.name, study.dataset_row, study.model_row)
    _check_reads(study.name, study.rows, study.model_row, study.model_name, parts)
    check_length(study.name, study.rows, study.epochs, freeze_thaw=study.search is not None)
    _check_images(study.name, study.rows, study.dataset_row)
    _check_masks(study.name, study.rows, study.dataset_row, parts.task)
    _check_classes(study.name, study.dataset_row, parts.task)
    _check_metric_rows(study.name, study.rows, study.known_metrics)
    _check_losses(study.name, study.rows, study.objectives, parts)


def _check_reads(study: str, space: Space, model: Model, model_name: str, parts: Parts) -> None:
    """Raise StudyError for a row that neither model nor recipe nor parts read, for a missing row, for a bad value."""
    own = list(parts.readers(space.rows))
    recipe = parts.settings()
    for name, row in space.rows.items():
        readers: list[Any] = [reads for other, reads, _ in own if other == name]
        readers += [table[name] for table in (model.reads, recipe) if name in table][:1]
        if not readers:
            known = {**recipe, **model.reads, **{other: reads for other, reads, _ in own}}
            raise StudyError(
                f'study "{study}": nothing reads "{name}"',
                evidence=[near_miss(name, known), f"{model_name} reads: {', '.join(model.reads) or 'no parameter'}"],
                next="rename the row, or take it out",
            )
        for reads in readers:
            _check_repeat(study, name, row, getattr(reads, "per", None))
            for value in edge_values(row):
                if value is not None:
                    check_value(f'study "{study}": {name}', value, reads)
    _check_chosen(study, space, parts)
    _check_required(study, space, model, model_name, parts)
    _check_never_read(study, space, model, parts)


def _check_metric_rows(study: str, space: Space, known: Mapping[str, str]) -> None:
    """Raise StudyError for a row of the recipe that names a metric which no epoch of the study has."""
    for value in edge_values(space.rows.get("schedule_metric", "val_loss")):
        check_metric(f'study "{study}": schedule_metric', value, known, per_epoch=True)


def _check_losses(study: str, space: Space, objectives: Sequence[str], parts: Parts) -> None:
    """Raise StudyError where the objective is a loss that the search itself changes, so that trials cannot be compared,
    and for settings of a loss that the task does not have."""
    classes = () if parts.task == "segmentation" else ("class_weights", "label_smoothing")
    for name in (*classes, "focal_gamma"):
        if name in space.rows and parts.task != "classification":
            raise StudyError(f'study "{study}": "{name}" is of classification, not {parts.task}', next="take it out")
    reads = {name for loss in parts.chosen["loss"] for name in loss.reads} | {"loss", "focal_gamma"}
    searched = sorted(name for name in reads & space.searched.keys())
    if "val_loss" in objectives and searched:
        raise StudyError(
            f'study "{study}": the objective val_loss is another measure in each trial, as {searched[0]} is searched',
            next=f'take a metric as the objective, such as "val_accuracy", or fix {searched[0]}',
        )


def _check_shape(study: str, dataset: Dataset, model: Model) -> None:
    """Raise StudyError when the model cannot take the data set's images, or needs images where there are none."""
    shape = dataset.image_shape
    if dataset.inputs is not None and shape is None:
        if model.channels is not None or model.image_sizes is not None or model.builder in NAMED.values():
            raise StudyError(
                f'study "{study}": the model takes images, and the data set has {dataset.inputs_shown}',
                next='model="mlp" takes any numbers; else model=Model("my_models:build"), from hpo.models import Model',
            )
        return
    if shape is None:
        raise StudyError(
            f'study "{study}": the data set\'s shape={dataset.shape!r} is not (channels, height, width)',
            next="inputs=Tensor(30) for samples that are no images, from hpo.data import Tensor",
        )
    channels, height, width = shape
    if model.channels is not None and channels not in model.channels:
        wanted = " or ".join(str(count) for count in model.channels)
        raise StudyError(f'study "{study}": the model takes {wanted} channels, the images have {channels}')
    if model.image_sizes is not None:
        smallest, largest = model.image_sizes
        if not (smallest <= height <= largest and smallest <= width <= largest):
            raise StudyError(
                f'study "{study}": the model takes images of {smallest} to {largest} pixels a side, '
                f"the data set's are {height}x{width}"
            )


def table_row(kind: str, name: object, table: Mapping[str, Any]) -> Any:
    """The row `name` of the models or the data sets that come with hpo. Raises StudyError for another name."""
    if not isinstance(name, str) or name not in table:
        own = {
            "model": 'Model("my_models:build", reads={...}), from hpo.models import Model',
            "data set": 'Dataset("my_data:load", shape=..., classes=...), from hpo.data import Dataset',
        }[kind]
        raise StudyError(
            f'unknown {kind} "{name}"',
            evidence=[near_miss(str(name), table)],
            next=f"correct the name, or bring your own: {kind.replace(' ', '')}={own}",
        )
    return table[name]


def _check_images(study: str, space: Space, dataset: Dataset) -> None:
    """Raise StudyError for a row about images where the data set has none, or none of grey or colour."""
    if dataset.inputs is None:
        for name in OF_COLOURS if dataset.shape[0] not in (1, 3) else ():
            if name in space.rows:
                raise StudyError(
                    f'study "{study}": "{name}" needs images of 1 or 3 channels, and these have {dataset.shape[0]}',
                    next="take the row out",
                )
        return
    mixable = isinstance(dataset.inputs, Tensor) and (dataset.inputs.dtype == "float32" or dataset.inputs.normalise)
    for name in OF_IMAGES if mixable else (*OF_IMAGES, "mixup_alpha"):
        if name in space.rows:
            raise StudyError(
                f'study "{study}": nothing reads "{name}": the data set has {dataset.inputs_shown}',
                next="take the row out; images in uint8 are Dataset(..., shape=(channels, height, width))",
            )


def _check_masks(study: str, space: Space, dataset: Dataset, task: str) -> None:
    """Raise StudyError where a study of masks has inputs that are no images, or changes images and not their masks."""
    if task not in TASKS:
        _check_maps(study, space, dataset)
    if task != "segmentation":
        return
    shape = dataset.shape if dataset.inputs is None else getattr(dataset.inputs, "shape", ())
    if len(shape) != 3:
        raise StudyError(
            f'study "{study}": segmentation needs one input [C, H, W], and the data set has {dataset.inputs_shown}',
            next="shape=(channels, height, width) for images in uint8, else inputs=Tensor(channels, height, width)",
        )
    for name in (*OF_IMAGES, "mixup_alpha"):
        if name in space.rows and name not in OF_MASKS:
            raise StudyError(
                f'study "{study}": "{name}" is for the classes of whole images: their masks would stay as they are',
                next=f"take the row out; {' and '.join(OF_MASKS[:2])} move masks with their images",
            )


def _check_maps(study: str, space: Space, dataset: Dataset) -> None:
    """Raise StudyError where the targets of a task of the user's own would stay where they are as their images move."""
    targets = dataset.targets
    if targets is None or len(targets.shape) < 2:
        return
    follows = targets.dtype == "uint8" and dataset.inputs is None and targets.shape == dataset.shape[1:]
    for name in (*OF_IMAGES, "mixup_alpha"):
        if name in space.rows and name != "channels_last" and not (follows and name in OF_MASKS):
            raise StudyError(
                f'study "{study}": "{name}" changes images, and targets={targets} would stay as they are',
                next="take the row out; crop_padding and flip move targets in uint8 of the images' height and width",
            )


def _check_classes(study: str, dataset: Dataset, task: str) -> None:
    """Raise StudyError where there is nothing to tell apart: a class alone is right whatever a model says."""
    if type(dataset) not in (Dataset, Torch):  # the others read their classes from files, and look there
        return
    least = 2 if task in ("classification", "segmentation") else 1
    if len(dataset.classes) < least or (task == "segmentation" and len(dataset.classes) > MOST_MASK_CLASSES):
        many = f"{least} to {MOST_MASK_CLASSES}" if task == "segmentation" else f"at least {least}"
        raise StudyError(
            f'study "{study}": the data set names {len(dataset.classes)} classes, and {task} needs {many}',
            next='classes=("price",) names the values or labels' if least == 1 else 'classes=("cat", "dog", ...)',
        )


def _check_repeat(study: str, name: str, row: Any, per: str | None) -> None:
    repeat = row.repeat if isinstance(row, Parameter) else (per if isinstance(row, (list, tuple)) else None)
    if repeat == per or (per is not None and not isinstance(row, Parameter)):
        return
    if per is None:
        raise StudyError(
            f'study "{study}": "{name}" is read as one value, not one per "{repeat}"', next="drop .per(...)"
        )
    raise StudyError(f'study "{study}": "{name}" is read as one value per "{per}"', next=f'add .per("{per}")')


def _check_chosen(study: str, space: Space, parts: Parts) -> None:
    """Each part can be had: it is the only one of its kind, or a row chooses it."""
    for kind, several in parts.chosen.items():
        if not several or parts.only(kind, space.rows) is not None:
            continue
        choices = edge_values(space.rows.get(kind, ""))
        for part in several:
            if part.shown not in choices:
                given = ", ".join(f'"{one.shown}"' for one in several)
                raise StudyError(
                    f'study "{study}": no row chooses the {kind} {part.shown}', next=f'"{kind}": Categorical({given})'
                )


def _check_required(study: str, space: Space, model: Model, model_name: str, parts: Parts) -> None:
    needed: dict[str, str] = {
        **{name: f"model {model_name}" for name, reads in model.reads.items() if reads.default is None},
        **{name: "training" for name, setting in RECIPE.items() if setting.default is REQUIRED},
    }
    sometimes = {name: needs for name, reads, needs in parts.readers(space.rows) if reads.default is None}
    needed |= {name: "a part of your own" for name in sometimes if name not in needed and name not in RECIPE}
    for name, reader in needed.items():
        if space.rows.get(name) is None:
            near = near_miss(name, set(space.rows) - set(needed)) if set(space.rows) - set(needed) else ""
            raise StudyError(
                f'study "{study}": {reader} needs "{name}", and no row gives it',
                evidence=[near] if near.startswith("did") else [],
                next=f'add a row such as "{name}": Int(...) or Float(...), or a fixed value',
            )
        row = space.rows[name]
        if isinstance(row, Parameter) and row.conditions and not sometimes.get(name):
            raise StudyError(f'study "{study}": {reader} always needs "{name}", but its row is conditional: {row}')


def _check_never_read(study: str, space: Space, model: Model, parts: Parts) -> None:
    """A row such as momentum is pointless if the rows it depends on can never take a value for which it is read."""
    own = {name for name, _, _ in parts.readers(space.rows)}
    for name, row in space.rows.items():
        needs = RECIPE[name].needs if name in RECIPE else None
        if not needs or not isinstance(row, Parameter) or name in own or name in model.reads:
            continue
        for other, wanted in needs.items():
            part = parts.only(other, space.rows) if other in parts.chosen else None
            usual = part.shown if part else RECIPE[other].default or RECIPE[other].unset
            given = edge_values(space.rows.get(other, usual))
            if not set(given) & set(wanted):
                raise StudyError(
                    f'study "{study}": nothing reads "{name}": it matters for {other}={"|".join(wanted)} only',
                    evidence=[f"{other} is {' | '.join(str(value) for value in given)}"],
                    next="take the row out",
                )
