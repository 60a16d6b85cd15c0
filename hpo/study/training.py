"""A function of the user's own that trains a declared configuration: which one it is, and what it is judged by."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.study.function import place_of, shown_reference

__all__ = ["Training"]


@dataclass(frozen=True)
class Training:
    """What a study with `train=` has in place of a model and a data set.

    reference:  of the function that is called with a hpo.Run, "module:name" or "/path/file.py:name"
    metrics:    those among its reports that the search goes by; directions: "minimize" or "maximize", one for each
    final:      the function that `hpo evaluate` calls instead; "" where there is none
    """

    reference: str
    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    final: str = ""

    @property
    def place(self) -> str:
        """The module, or the file, that the function stands in."""
        return place_of(self.reference)

    @property
    def shown(self) -> str:
        """The reference as every host writes it: without the folder of its file."""
        return shown_reference(self.reference)
