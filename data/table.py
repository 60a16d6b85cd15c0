"""A CSV file as a data set: the declaration. No torch here; hpo.data.table_rows encodes the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpo.data.dataset import KEPT, Dataset, Tensor
from hpo.data.table_columns import Wanted, columns_of, digest_of, mixed_columns, read_table
from hpo.errors import StudyError
from hpo.user_code import calling_line

__all__ = ["CSV"]


@dataclass(frozen=True, init=False)
class CSV(Dataset):
    """A table with a line of names and a row for each sample: numbers and categories are inputs.

    path:       of the file; a relative one is looked for beside the file that says CSV(...)
    target:     the column with the class; for regression the columns of the values, for multi-label classification
                those of 0 and 1, a name or several
    test:       share of the rows kept for `hpo evaluate`, of each class the same; or the path of a file with test rows
    ignore:     columns that are no input, such as a row's number
    categories: columns that are categories although they are written as numbers
    groups:     a column such as a patient's name: rows of one value stay on one side of a split; no input
    missing:    "refuse", or "fill": a number that is missing becomes the median, a category one of its own, and a
                column for each says where
    validation: share of the other rows held out for validation
    delimiter:  between fields
    allow_overlap: go on although rows of the test file have the inputs of rows trained on

    Numbers are normalised by the mean and deviation of the rows trained on, and a category becomes a column for each of
    its values. Raises StudyError for a value that is not possible; DataError, once the file is needed, for what is
    wrong with it.
    """

    path: Path = Path()
    wanted: Wanted = field(default_factory=lambda: Wanted(()))
    test: float | None = 0.2
    test_path: Path | None = None
    where: str = ""
    allow_overlap: bool = False

    def __init__(
        self,
        path: str | Path,
        target: str | Sequence[str],
        test: float | str | Path = 0.2,
        *,
        ignore: Sequence[str] = (),
        categories: Sequence[str] = (),
        groups: str | None = None,
        missing: str = "refuse",
        validation: float = 0.2,
        delimiter: str = ",",
        allow_overlap: bool = False,
        help: str = "",
    ) -> None:
        if missing not in ("refuse", "fill"):
            raise StudyError(f'CSV(missing={missing!r}) is neither "refuse" nor "fill"', next='missing="fill"')
        targets = (target,) if isinstance(target, str) else tuple(target)
        if not targets or len(set(targets)) < len(targets):
            raise StudyError(f"CSV(target={target!r}) names no column, or one twice", next='target="price"')
        for name, names in (("ignore", ignore), ("categories", categories)):
            if isinstance(names, str):
                raise StudyError(f"CSV({name}={names!r}) is one name, not several", next=f"{name}=({names!r},)")
        if not isinstance(delimiter, str) or len(delimiter) != 1:
            raise StudyError(f"CSV(delimiter={delimiter!r}) must be one character", next='delimiter=";"')
        for name, share in (("test", test), ("validation", validation)):
            if not isinstance(share, str | Path) and (isinstance(share, bool) or not 0 < share < 1):
                raise StudyError(f"CSV({name}={share!r}) must lie between 0 and 1", next=f"{name}=0.2")
        super().__init__("hpo.data.table_rows:load", (), (), validation, False, help, Tensor(1, normalise=True))
        file, line = calling_line()
        folder = Path(file).parent if file else Path.cwd()
        own = {
            "path": folder / Path(path).expanduser(),
            "wanted": Wanted(targets, tuple(ignore), tuple(categories), groups, missing == "fill", delimiter),
            "test": test if isinstance(test, float) else None,
            "test_path": None if isinstance(test, float) else folder / Path(test).expanduser(),
            "where": line,
            "allow_overlap": allow_overlap,
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        test = f"{self.test:g}" if self.test_path is None else self.test_path.name
        return f"CSV({self.path.name}, target={self.wanted.shown_targets}, test={test}{self.wanted.shown})"

    @property
    def inputs_shown(self) -> str:
        return f"the columns of {self.path.name}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.for_trainer(self.name)["classes"])

    def for_task(self, task: str) -> Dataset:
        if task == "classification" and len(self.wanted.targets) > 1:
            raise StudyError(
                f"{self.name} has {len(self.wanted.targets)} targets, and classification takes one",
                next='task="regression" or "multilabel" in the study, or name one column',
            )
        if task == "segmentation":
            raise StudyError(
                f"{self.name} is a table, and segmentation needs images and their masks",
                next='bring a loader of both: Dataset("my_data:load", shape=..., classes=...)',
            )
        made = copy(self)
        if task in KEPT:
            object.__setattr__(made, "wanted", replace(self.wanted, task=task))
        else:  # of the user's own: numbers, whatever they mean
            object.__setattr__(made, "wanted", replace(self.wanted, task="regression"))
            object.__setattr__(made, "targets", Tensor(len(self.wanted.targets)))
        return made

    def sources(self) -> Mapping[str, str]:
        files = [self.path, *([self.test_path] if self.test_path else [])]
        return {f"rows of {path.name}": digest_of(path, self.where) for path in files}

    def notes(self) -> list[str]:
        """Columns that would be numbers but for a few words, each with the first of them."""
        return mixed_columns(read_table(self.path, self.wanted.delimiter, self.where), self.wanted)

    def for_trainer(self, name: str) -> dict[str, Any]:
        digests = list(self.sources().values())
        table = read_table(self.path, self.wanted.delimiter, self.where)
        columns, classes, size = columns_of(table, self.wanted, parts=2 + (self.test_path is None))
        options = {
            "digests": digests,
            "columns": columns,
            "classes": classes,
            "test": self.test,
            "target": self.wanted.targets[0] if self.wanted.task == "classification" else self.wanted.targets,
            "groups": self.wanted.groups,
            "delimiter": self.wanted.delimiter,
            "allow_overlap": self.allow_overlap,
            **({"task": self.wanted.task} if self.wanted.task != "classification" else {}),
        }
        place = {"path": str(self.path), "test_path": str(self.test_path or ""), "where": self.where}
        sample = {"shape": [size], "dtype": "float32", "normalise": True, "below": None}
        row = {"name": name, "loader": self.loader, "classes": classes, "validation": self.validation}
        targets = {"targets": {"shape": list(self.targets.shape), "dtype": "float32"}} if self.targets else {}
        return {**row, **sample, **targets, "options": options, "place": place}
