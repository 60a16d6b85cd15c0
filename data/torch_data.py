"""Any torch Dataset as a data set, also one that is larger than memory: the declaration. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.data.dataset import Dataset, Tensor
from hpo.errors import StudyError

__all__ = ["Torch"]


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
    """

    workers: int = 2
    collate: str | None = None

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

    def for_trainer(self, name: str) -> dict[str, Any]:
        streamed = {"collate": self.collate}
        return {**super().for_trainer(name), "streamed": streamed, "place": {"workers": self.workers}}
