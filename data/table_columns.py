"""A CSV file's columns: which are numbers, which categories, and how many values a row has once it is encoded.

No torch here, and no pandas, which takes longer to import than most tables to read.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hpo.errors import DataError, near_miss

__all__ = [
    "MISSING",
    "Table",
    "Wanted",
    "columns_of",
    "digest_of",
    "mixed_columns",
    "number_of",
    "read_table",
    "target_values",
]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What stands for a value that is missing, in any case, with or without spaces around it."""

MOST_VALUES = 100
"""A column with more different words is text, and a target with more different numbers a quantity."""

SHOWN = 5

FEW = 10
"""Where fewer than one field in so many is a word, the column may have been meant as numbers."""


@dataclass(frozen=True)
class Wanted:
    """What a study says of the columns (hpo.data.CSV); fill: what is missing is filled in; task: of the study."""

    targets: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    groups: str | None = None
    fill: bool = False
    delimiter: str = ","
    task: str = "classification"

    @property
    def shown_targets(self) -> str:
        return self.targets[0] if len(self.targets) == 1 else f"({', '.join(self.targets)})"

    @property
    def shown(self) -> str:
        """What differs from the usual, for a study's declaration."""
        words = [f"{name}={list(value)}" for name in ("ignore", "categories") if (value := getattr(self, name))]
        words += [f"groups={self.groups}"] if self.groups else []
        return "".join(f", {word}" for word in [*words, *(["missing=fill"] if self.fill else [])])


@dataclass(frozen=True)
class Table:
    """rows: the fields of each, stripped; lines: the line of the file that each ends in; where: the user's line."""

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    where: str

    def column(self, name: str) -> list[str]:
        """Its fields. Raises DataError if there is no such column."""
        if name not in self.names:
            raise DataError(
                f"{self.path} has no column {name!r}",
                evidence=[near_miss(name, self.names), self.where],
                next="name one of its columns; the first line has their names",
            )
        at = self.names.index(name)
        return [row[at] for row in self.rows]

    def wrong(self, fact: str, evidence: Sequence[str], next: str) -> DataError:
        return DataError(f"{self.path}: {fact}", evidence=[*evidence, self.where], next=next)


def digest_of(path: Path, where: str) -> str:
    """32 hexadecimal digits of the file's content. Raises DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}",
            evidence=[where],
            next="check the path; a relative one is looked for beside the file that names it",
        ) from error


def read_table(path: Path, delimiter: str, where: str) -> Table:
    """The table in `path`. Raises DataError, with the line, for one that is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = tuple(name.strip() for name in next(reader, []))
            table = Table(path, names, [], [], where)
            _check_names(table, delimiter)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise table.wrong(
                        f"line {reader.line_num} has {len(row)} fields, and the first line {len(names)} names",
                        [delimiter.join(row)[:100]],
                        "mend that line",
                    )
                table.rows.append([field.strip() for field in row])
                table.lines.append(reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV file in UTF-8: {error}", evidence=[where], next="save it as one") from error
    if not table.rows:
        raise table.wrong("there are no rows", [], "give it a line for each sample, below the names")
    return table


def number_of(field: str) -> float | None:
    """The number in a field; NaN where it is missing, None where there is another word."""
    if field.lower() in MISSING:
        return math.nan
    try:
        return float(field)
    except ValueError:
        return None


def columns_of(table: Table, wanted: Wanted, *, parts: int) -> tuple[list[dict[str, Any]], list[str], int]:
    """(how each input column is encoded, the classes or the names of the targets, the values of an encoded row).

    A number is {"name", "fill": what stands for a missing one, or None}; a category has "values" too.
    parts: into how many parts the rows are divided; a class needs one for each
    """
    for name in wanted.targets:
        _check_target(table, name)
    if wanted.task == "classification":
        classes = _classes(table, wanted.targets[0], parts)
    else:
        target_values(table, wanted.targets, wanted.task)  # DataError for one that is none
        classes = list(wanted.targets)
    for name in (*wanted.ignore, *wanted.categories, *([wanted.groups] if wanted.groups else [])):
        table.column(name)
    left_out = {*wanted.targets, wanted.groups, *wanted.ignore}
    names = [name for name in table.names if name not in left_out]
    if not names:
        raise table.wrong("no column is left as an input", [], "take one out of ignore")
    _check_missing(table, names, fill=wanted.fill)
    columns = [_column(table, name, category=name in wanted.categories) for name in names]
    return columns, classes, sum(len(c.get("values", ["number"])) + (c["fill"] is not None) for c in columns)


def mixed_columns(table: Table, wanted: Wanted) -> list[str]:
    """A sentence for each column that is a category because a few of its fields are no numbers: often a mistake in one.

    None for a column that the study calls a category.
    """
    apart = {*wanted.targets, wanted.groups, *wanted.ignore, *wanted.categories}
    return [
        f"column {name!r} is a category of {len(set(table.column(name)))} words, because {words}: mend that, "
        f'leave it empty (missing="fill"), or write categories=({name!r},)'
        for name in table.names
        if name not in apart and (words := _few_words(table, name))
    ]


def _few_words(table: Table, name: str) -> str:
    """How many fields are no numbers, and the first; "" where none is, or many are."""
    fields = table.column(name)
    words = [at for at, field in enumerate(fields) if number_of(field) is None]
    if not words or len(words) * FEW >= len(fields):
        return ""
    many = "1 row has" if len(words) == 1 else f"{len(words):,} rows have"
    return f"{many} no number there, the first {fields[words[0]]!r} in line {table.lines[words[0]]}"


def _column(table: Table, name: str, *, category: bool) -> dict[str, Any]:
    fields = table.column(name)
    numbers = [number_of(field) for field in fields]
    gaps = any(field.lower() in MISSING for field in fields)
    present = [number for number in numbers if number is not None and not math.isnan(number)]
    if not category and present and None not in numbers:
        if not all(map(math.isfinite, present)):
            at = next(at for at, number in enumerate(numbers) if number is not None and math.isinf(number))
            raise table.wrong(
                f"column {name!r} is infinite in line {table.lines[at]}", [], "mend it, or leave the field empty"
            )
        return {"name": name, "fill": median(present) if gaps else None}
    values = sorted({field for field in fields if field.lower() not in MISSING})
    if len(values) > MOST_VALUES:
        words = "" if category else _few_words(table, name)
        raise table.wrong(
            f"column {name!r} has {len(values):,} different words, which is text and no category",
            [words or ", ".join(values[:SHOWN]) + " ..."],
            "mend that, or leave it empty" if words else f"ignore=({name!r},) leaves it out",
        )
    return {"name": name, "values": values, "fill": 0 if gaps else None}


def target_values(table: Table, targets: Sequence[str], task: str) -> list[list[float]]:
    """The targets of each row as numbers, for a task without classes.

    Raises DataError, with the line, for what is no number, and for a label that is neither 0 nor 1.
    """
    columns = []
    for name in targets:
        values = [number_of(field) for field in table.column(name)]
        for at, value in enumerate(values):
            if value is None or not math.isfinite(value) or (task == "multilabel" and value not in (0, 1)):
                field = table.column(name)[at]
                raise table.wrong(
                    f"the target {name!r} is {field!r} in line {table.lines[at]}",
                    [f"{task} takes {'0 and 1' if task == 'multilabel' else 'numbers'}"],
                    "mend that line, or take it out",
                )
        columns.append([value for value in values if value is not None])
    return [list(row) for row in zip(*columns, strict=True)]


def _check_target(table: Table, target: str) -> None:
    fields = table.column(target)
    lost = [table.lines[at] for at, field in enumerate(fields) if field.lower() in MISSING]
    if lost:
        raise table.wrong(
            f"the target {target!r} is missing in {len(lost):,} of {len(fields):,} rows",
            [f"line {', '.join(map(str, lost[:SHOWN]))}{' ...' if len(lost) > SHOWN else ''}"],
            "fill these in, or take the rows out",
        )
    if len(set(fields)) < 2:
        raise table.wrong(f"the target {target!r} is {fields[0]} in every row", [], "give it rows with another")


def _classes(table: Table, target: str, parts: int) -> list[str]:
    counts = Counter(table.column(target))
    if len(counts) > MOST_VALUES:
        raise table.wrong(
            f"the target {target!r} has {len(counts):,} different values, which are no classes",
            [", ".join(list(counts)[:SHOWN]) + " ..."],
            'name the column with the classes; task="regression" in the study learns a quantity',
        )
    rare = [name for name, count in counts.items() if count < parts]
    if rare:
        rows = f"{counts[rare[0]]} row{'s' if counts[rare[0]] > 1 else ''}"
        raise table.wrong(
            f"class {rare[0]} of {target!r} has {rows}, and each of {parts} parts needs one",
            [],
            "add rows of it, or take it out",
        )
    whole = all(field.lstrip("-").isdigit() for field in counts)
    return sorted(counts, key=int) if whole else sorted(counts)


def _check_names(table: Table, delimiter: str) -> None:
    twice = [name for name, count in Counter(table.names).items() if count > 1]
    if not table.names:
        raise table.wrong("it is empty", [], "give it a line with the names of the columns, and one for each sample")
    if twice or "" in table.names:
        fact = f"two columns are called {twice[0]!r}" if twice and twice[0] else "a column has no name"
        raise table.wrong(fact, [delimiter.join(table.names)[:100]], "give each column a name of its own in line 1")
    for other in (";", "\t", ","):
        if len(table.names) == 1 and other in table.names[0]:
            raise table.wrong("there is a single column", [table.names[0][:100]], f"delimiter={other!r}")


def _check_missing(table: Table, names: Sequence[str], *, fill: bool) -> None:
    gaps: dict[str, list[int]] = {}
    for name in names:
        lost = [table.lines[at] for at, field in enumerate(table.column(name)) if field.lower() in MISSING]
        if len(lost) == len(table.rows):
            raise table.wrong(f"column {name!r} has no value at all", [], f"ignore=({name!r},) leaves it out")
        if lost:
            gaps[name] = lost
    if gaps and not fill:
        raise table.wrong(
            f"values are missing in {len(gaps)} of {len(names)} columns",
            [
                f"{name}: {len(lost):,} of {len(table.rows):,} rows, first in line {lost[0]}"
                for name, lost in list(gaps.items())[:SHOWN]
            ],
            'missing="fill" puts the median or a category of its own there, and a column that says where',
        )
