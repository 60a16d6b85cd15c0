"""A function of the user's own as the objective of a study: which one it is, and which way its values are better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpo.errors import StudyError
from hpo.own_metrics import LONGEST_NAME, is_metric_name
from hpo.study.function import function_reference, place_of, shown_reference
from hpo.wording import shortened

__all__ = ["Objective"]


@dataclass(frozen=True)
class Objective:
    """An objective as study.optimize takes it: a function of one trial that returns a number, or one for each metric.

    function:  "module:name", "path/to/file.py:name", or the function itself, if it stands at the top of a file
    metric:    what each value is called in reports
    direction: "minimize" or "maximize", one for each metric; there is no default
    """

    function: str | Callable[..., Any]
    metric: str | tuple[str, ...] | None = None
    direction: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", function_reference(self.function))
        directions = self.directions
        if not directions or set(directions) - {"minimize", "maximize"}:
            raise StudyError(
                f"the objective {self.shown} has no direction"
                if not directions
                else f"direction={self.direction!r} is not minimize or maximize, or one of them for each value",
                next='Objective(..., direction="minimize"), or "maximize"; on the command line --direction',
            )
        if len(self.metrics) != len(directions):
            raise StudyError(
                f"metric={self.metric!r} and direction={self.direction!r} are not of one length",
                next="give one direction for each metric",
            )
        for name in self.metrics:
            if not is_metric_name(name) or "," in name:  # which stands between names on the command line
                raise StudyError(
                    f"metric={shortened(repr(name))} is not the name of a metric",
                    next=f"give it text of 1 to {LONGEST_NAME} printable characters, without a comma",
                )

    @property
    def reference(self) -> str:
        """ "module:name" or "/path/file.py:name"."""
        assert isinstance(self.function, str)
        return self.function

    @property
    def place(self) -> str:
        """The module, or the file, that the function stands in."""
        return place_of(self.reference)

    @property
    def shown(self) -> str:
        """The reference as every host writes it: without the folder of its file."""
        return shown_reference(self.reference)

    @property
    def directions(self) -> tuple[str, ...]:
        return _tuple(self.direction)

    @property
    def metrics(self) -> tuple[str, ...]:
        if self.metric is not None:
            return _tuple(self.metric)
        count = len(self.directions)
        return ("value",) if count == 1 else tuple(f"value_{index}" for index in range(count))


def _tuple(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)
