"""What a study says of a data set: the row of the table, and what rows of one's own have in common. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Dataset"]


@dataclass(frozen=True)
class Dataset:
    """A row of the table.

    loader:       "module:function", called with a split ("train" or "test") and the folders to read and to cache in
    shape:        (channels, height, width) of an image
    classes:      names of the classes, in label order
    validation:   share of the train split held out for validation by default
    download:     whether torchvision fetches it; False for what comes with an installed package
    """

    loader: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    validation: float = 0.2
    download: bool = True
    help: str = ""

    @property
    def name(self) -> str:
        """What a study's declaration calls it: the same on every host."""
        return self.loader

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in label order, read from the files where these decide them."""
        return self.classes

    def sources(self) -> Mapping[str, str]:
        """The user's own data, by name: 32 hexadecimal digits that change with its content. Empty where it has none."""
        return {}

    def for_trainer(self, name: str) -> dict[str, Any]:
        """What a job says of it (hpo.messages.Job); `name` is what the study calls it.

        "options" are more arguments for the loader. "place" are those that say where this host has the files, and
        decide no result.
        """
        return {
            "name": name,
            "loader": self.loader,
            "shape": list(self.shape),
            "classes": list(self.class_names),
            "validation": self.validation,
        }
