"""Checks that something reads every row, and that every reader has its row, without building a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.data import Dataset
from hpo.errors import StudyError, near_miss
from hpo.models import Model
from hpo.study.parameters import Parameter
from hpo.study.recipe import RECIPE, REQUIRED, check_value
from hpo.study.space import Space

__all__ = ["check_reads", "check_shape"]


def check_reads(study: str, space: Space, model: Model, model_name: str) -> None:
    """Raise StudyError for a row that neither the model nor the recipe reads, for a missing row, for a bad value."""
    readers: dict[str, Any] = {**RECIPE, **model.reads}
    for name, row in space.rows.items():
        if name not in readers:
            raise StudyError(
                f'study "{study}": nothing reads "{name}"',
                evidence=[near_miss(name, readers), f"{model_name} reads: {', '.join(model.reads) or 'no parameter'}"],
                next="rename the row, or take it out",
            )
        _check_repeat(study, name, row, getattr(readers[name], "per", None))
        for value in _edge_values(row):
            if value is not None:
                check_value(f'study "{study}": {name}', value, readers[name])
    _check_required(study, space, model, model_name)
    _check_never_read(study, space)


def check_shape(study: str, dataset: Dataset, model: Model) -> None:
    """Raise StudyError when the model cannot take the data set's images."""
    channels, height, width = dataset.shape
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


def _edge_values(row: Any) -> list[Any]:
    if isinstance(row, Parameter):
        return list(row.ends())
    return list(row) if isinstance(row, (list, tuple)) else [row]


def _check_repeat(study: str, name: str, row: Any, per: str | None) -> None:
    repeat = row.repeat if isinstance(row, Parameter) else (per if isinstance(row, (list, tuple)) else None)
    if repeat == per or (per is not None and not isinstance(row, Parameter)):
        return
    if per is None:
        raise StudyError(
            f'study "{study}": "{name}" is read as one value, not one per "{repeat}"', next="drop .per(...)"
        )
    raise StudyError(f'study "{study}": "{name}" is read as one value per "{per}"', next=f'add .per("{per}")')


def _check_required(study: str, space: Space, model: Model, model_name: str) -> None:
    needed: Mapping[str, str] = {
        **{name: f"model {model_name}" for name, reads in model.reads.items() if reads.default is None},
        **{name: "training" for name, setting in RECIPE.items() if setting.default is REQUIRED},
    }
    for name, reader in needed.items():
        if space.rows.get(name) is None:
            near = near_miss(name, set(space.rows) - set(needed)) if set(space.rows) - set(needed) else ""
            raise StudyError(
                f'study "{study}": {reader} needs "{name}", and no row gives it',
                evidence=[near] if near.startswith("did") else [],
                next=f'add a row such as "{name}": Int(...) or Float(...), or a fixed value',
            )
        row = space.rows[name]
        if isinstance(row, Parameter) and row.conditions:
            raise StudyError(f'study "{study}": {reader} always needs "{name}", but its row is conditional: {row}')


def _check_never_read(study: str, space: Space) -> None:
    """A row such as momentum is pointless if the rows it depends on can never take a value for which it is read."""
    for name, row in space.rows.items():
        needs = RECIPE[name].needs if name in RECIPE else None
        if not needs or not isinstance(row, Parameter):
            continue
        for other, wanted in needs.items():
            given = _edge_values(space.rows.get(other, RECIPE[other].default))
            if not set(given) & set(wanted):
                raise StudyError(
                    f'study "{study}": nothing reads "{name}": it matters for {other}={"|".join(wanted)} only',
                    evidence=[f"{other} is {' | '.join(str(value) for value in given)}"],
                    next="take the row out",
                )
