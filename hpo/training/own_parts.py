"""The parts of training that are the user's own, as a job names them: imported, and given what they read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hpo.errors import StudyError
from hpo.messages import Job
from hpo.user_code import definition_of
from hpo.user_function import load_function

__all__ = ["OwnPart", "own_metrics", "own_part", "task_part"]


class OwnPart:
    """A function or class of the user's own, with the parameters that it reads.

    kind: "loss", "metric", "optimizer", "schedule" or "task's"; name: as the study writes it
    """

    def __init__(self, kind: str, name: str, described: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self.kind, self.name = kind, name
        self.parameters = {read: config[read] for read in described["reads"] if read in config}
        self.function: Callable[..., Any] = load_function(described["function"])
        self.direction = str(described.get("direction", ""))

    @property
    def is_class(self) -> bool:
        return isinstance(self.function, type)

    def check_takes(self, *arguments: str) -> None:
        """Raise StudyError unless it can be called, or a class made, with `arguments` and its parameters."""
        try:
            signature = inspect.signature(self.function)
        except ValueError:  # a builtin without one
            return
        try:
            signature.bind(*arguments, **self.parameters)
        except TypeError as error:
            given = [*arguments, *(f"{name}={value!r}" for name, value in self.parameters.items())]
            raise self.error(
                f"cannot be called with what the study gives: {error}",
                f"it takes  {signature}",
                f"it gets   ({', '.join(given)})",
                next="add the missing parameter, or remove the surplus one, in reads= or in the function",
            ) from error

    def error(self, fact: str, *evidence: str, next: str = "") -> StudyError:
        """A StudyError about this part, with the line where it is defined."""
        return StudyError(
            f"the {self.kind} {self.name} {fact}", evidence=[*evidence, definition_of(self.function)], next=next
        )


def own_part(job: Job, kind: str) -> OwnPart | None:
    """The loss, optimizer or schedule of the job's configuration, where it is one of the study's own."""
    name = job.config.get(kind)
    described = job.parts.get(kind, {}).get(name)
    return OwnPart(kind, str(name), described, job.config) if described is not None else None


def own_metrics(job: Job) -> list[OwnPart]:
    """The metrics that are computed for the job's study, in its order."""
    metrics: Mapping[str, Any] = job.parts.get("metrics", {})
    return [OwnPart("metric", name, described, job.config) for name, described in metrics.items()]


def task_part(job: Job, name: str) -> OwnPart | None:
    """The function `name` of the study's own Task, where it has one."""
    described = job.parts.get("of_task", {}).get(name)
    return OwnPart("task's", name, described, job.config) if described is not None else None
