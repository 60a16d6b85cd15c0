"""Any torch Dataset as a data set, also one that is larger than memory: the declaration. No torch here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.data.dataset import Dataset, Tensor
from hpo.errors import DataError, StudyError
from hpo.user_code import calling_line

__all__ = ["Torch"]

READ, READ_BYTES = 1000, 1 << 16
"""So many files, evenly spread, are read, and so much of each: all of a terabyte would take hours."""


@dataclass(frozen=True, init=False)
class Torch(Dataset):
    """A function that returns torch Datasets, whose samples worker processes load while a trial trains.

    loader:     "module:function", called with a split ("train" or "test"), the folders to read and to cache in, and
                whether the samples are for training (with random transforms) or for scoring
    inputs:     of one sample: Tensor(3, 224, 224), or several by name; nothing is scaled
    classes:    names of the classes, in label order
    validation: share of the train split held out for validation
    workers:    processes that load samples for each trainer; 0 loads them in the trainer. It decides no result
    collate:    "module:function" that makes a batch of a list of samples; None: torch's default_collate
    targets:    as of Dataset
    files:      the folder or file that the samples are read from, or several, beside the file that names them: hpo then
                tells when one is added, gone or of another size, or when one of a thousand that it reads has changed
    """

    workers: int = 2
    collate: str | None = None
    files: tuple[Path, ...] = field(default=(), hash=False, compare=False)

    def __init__(
        self,
        loader: str,
        inputs: Tensor | Mapping[str, Tensor],
        classes: tuple[str, ...] = (),
        validation: float = 0.2,
        *,
        workers: int = 2,
        collate: str | None = None,
        targets: Tensor | None = None,
        files: str | Path | Sequence[str | Path] = (),
        help: str = "",
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise StudyError(f"Torch(workers={workers!r}) must be a whole number of at least 0", next="workers=2")
        for name, value in (("loader", loader), ("collate", collate)):
            if not (isinstance(value, str) and value.count(":") == 1) and (name, value) != ("collate", None):
                raise StudyError(
                    f"Torch({name}={value!r}) must be the name of a function in a file beside the study's",
                    next='Torch("my_data:datasets", inputs=Tensor(3, 64, 64), classes=("cat", "dog"))',
                )
        super().__init__(loader, (), classes, validation, False, help, inputs, targets)
        if any(one.normalise for one in (inputs.values() if isinstance(inputs, Mapping) else [inputs])):
            raise StudyError(
                "Torch(inputs=Tensor(..., normalise=True)): nothing knows the mean of samples that are not in memory",
                next="normalise in the Dataset, such as by torchvision's transforms.Normalize",
            )
        object.__setattr__(self, "workers", workers)
        object.__setattr__(self, "collate", collate)
        given = (files,) if isinstance(files, str | Path) else tuple(files)
        file, _ = calling_line()
        folder = Path(file).parent if file else Path.cwd()
        object.__setattr__(self, "files", tuple(folder / Path(one).expanduser() for one in given))

    def sources(self) -> Mapping[str, str]:
        return {f"files in {path.name}": _digest(path) for path in self.files}

    def for_trainer(self, name: str) -> dict[str, Any]:
        streamed = {"collate": self.collate}
        return {**super().for_trainer(name), "streamed": streamed, "place": {"workers": self.workers}}


def _digest(path: Path) -> str:
    """32 hexadecimal digits over the names and sizes of all files below, and what READ of them begin with."""
    if not path.exists():
        raise DataError(f"{path} is not there", next="Torch(files=...) is looked for beside the file that names it")
    found = [path] if path.is_file() else [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    digest = hashlib.sha256()
    ordered = sorted((os.fsencode(one.relative_to(path)), one) for one in found)
    step = max(1, len(ordered) // READ)
    for number, (name, one) in enumerate(ordered):
        digest.update(name + b"\0%d\0" % one.stat().st_size)
        if number % step == 0:
            with one.open("rb") as file:
                digest.update(file.read(READ_BYTES))
    return digest.hexdigest()[:32]
