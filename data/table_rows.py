"""The rows of a CSV file, encoded: numbers as they are, a category as a column for each of its values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo.data.files import Folders, Split
from hpo.data.samples import Samples
from hpo.data.splits import split_apart
from hpo.data.table_columns import MISSING, Table, digest_of, number_of, read_table, target_values
from hpo.data.targets import strata
from hpo.errors import DataError

__all__ = ["encoded", "load"]

Columns = Sequence[Mapping[str, Any]]


def load(
    split: Split,
    folders: Folders,
    *,
    digests: Sequence[str],
    columns: Columns,
    classes: Sequence[str],
    test: float | None,
    target: str | Sequence[str],
    groups: str | None,
    delimiter: str,
    allow_overlap: bool,
    path: str,
    test_path: str,
    where: str,
    task: str = "classification",
) -> Samples:
    """The rows of `split`, float32 [N, F], and their classes, or for another task float32 [N, T] of the targets.

    Raises DataError where the files are not those that the study was started with, and for test rows that are trained
    on.
    """
    files = [Path(one) for one in (path, test_path) if one]
    if [digest_of(file, where) for file in files] != list(digests):
        raise DataError(
            f"{' or '.join(file.name for file in files)} changed since the study was started",
            evidence=[where],
            next="start the study again; it says what changed",
        )
    table = read_table(files[0], delimiter, where)
    if test is None:
        other = read_table(files[1], delimiter, where)
        if not allow_overlap:
            _check_apart(table, other, [column["name"] for column in columns])
        chosen = table if split == "train" else other
        return _samples(chosen, columns, _targets(chosen, classes, target, task), groups)
    whole = _samples(table, columns, _targets(table, classes, target, task), groups)
    assert isinstance(whole.inputs, Tensor)
    together = whole.groups if whole.groups is not None else _numbered(map(tuple, whole.inputs.tolist()))
    index = split_apart(strata(whole.targets, task), together, test, seed=0)[split == "test"]
    return Samples(whole.inputs[index], whole.targets[index], whole.groups[index] if whole.groups is not None else None)


def encoded(table: Table, columns: Columns) -> Tensor:
    """float32 [N, F] of the table's rows; a category that is not among the known ones is none of them.

    Raises DataError for a word where a number belongs, and for a value that is missing where none was.
    """
    made: list[list[float]] = []
    for column in columns:
        fields = table.column(column["name"])
        lost = [field.lower() in MISSING for field in fields]
        if column["fill"] is None and any(lost):
            raise table.wrong(
                f"column {column['name']!r} is missing in line {table.lines[lost.index(True)]}, and in no row of train",
                [],
                "fill it in, or take the row out",
            )
        if "values" in column:
            made += [[float(field == value) for field in fields] for value in column["values"]]
        else:
            made.append([_number(table, column, at, field) for at, field in enumerate(fields)])
        if column["fill"] is not None:
            made.append([float(one) for one in lost])
    return torch.tensor(made, dtype=torch.float32).T.contiguous()


def _number(table: Table, column: Mapping[str, Any], at: int, field: str) -> float:
    number = number_of(field)
    if number is None or math.isinf(number):
        raise table.wrong(
            f"column {column['name']!r} is {field!r} in line {table.lines[at]}, and a number in the rows trained on",
            [],
            "mend that line",
        )
    return float(column["fill"]) if math.isnan(number) else number


def _samples(table: Table, columns: Columns, targets: Tensor, groups: str | None) -> Samples:
    return Samples(encoded(table, columns), targets, _numbered(table.column(groups)) if groups else None)


def _targets(table: Table, classes: Sequence[str], target: str | Sequence[str], task: str) -> Tensor:
    """int64 [N], or for a task without classes float32 [N, T]."""
    if not isinstance(target, str):
        return torch.tensor(target_values(table, target, task), dtype=torch.float32)
    number = {name: label for label, name in enumerate(classes)}
    labels = []
    for line, field in zip(table.lines, table.column(target), strict=True):
        if field not in number:
            raise table.wrong(
                f"the target {target!r} is {field!r} in line {line}, which no row trained on has",
                [f"classes: {', '.join(classes[:10])}"],
                "mend that line, or take it out",
            )
        labels.append(number[field])
    return torch.tensor(labels)


def _numbered(values: Any) -> Tensor:
    """int64 [N]: the same number for the same value."""
    seen: dict[Any, int] = {}
    return torch.tensor([seen.setdefault(value, len(seen)) for value in values])


def _check_apart(table: Table, test: Table, names: Sequence[str]) -> None:
    columns = zip(*(table.column(name) for name in names), strict=True)
    trained_on: dict[tuple[str, ...], int] = {}
    for row, line in zip(columns, table.lines, strict=True):
        trained_on.setdefault(row, line)
    rows = zip(*(test.column(name) for name in names), strict=True)
    both = [(line, trained_on[row]) for line, row in zip(test.lines, rows, strict=True) if row in trained_on]
    if both:
        raise test.wrong(
            f"{len(both):,} of {len(test.rows):,} test rows {'are' if len(both) > 1 else 'is'} trained on too",
            [f"line {line} = line {other} of {table.path.name}" for line, other in both[:5]],
            "take them out of one of the two files; allow_overlap=True goes on where different samples may be equal",
        )
