"""A task of the user's own: a loss, metrics and functions say what outputs and targets mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hpo.errors import StudyError, near_miss
from hpo.names import is_file_name
from hpo.study.parts import Metric, Part, of_kind
from hpo.study.tasks import TASKS, TaskRow

__all__ = ["Task", "check_task", "with_task"]


@dataclass(frozen=True)
class Check(Part):
    """`check(targets, classes)`, of all targets of a split: raises ValueError, or returns what is wrong with them."""

    takes: ClassVar[str] = "targets, classes"


@dataclass(frozen=True)
class Predict(Part):
    """`predict(output, classes)` -> what `hpo predict` says of one input: anything that JSON can hold."""

    takes: ClassVar[str] = "output, classes"


@dataclass(frozen=True)
class Task:
    """What there is to learn, where it is none of hpo's tasks. Each function is "module:name", or the function itself.

    name:    of one word, as reports call it
    loss:    what training minimizes, as `loss` of a Study; several where a row chooses
    metrics: by name, as `metrics` of a Study
    outputs: the shape of what a network gives for one sample, which is built with classes=outputs[0]; None: (classes,)
    check:   `check(targets, classes)`, called with the targets [N, ...] of a whole split and the names of the classes
             before a trial is spent on them; of torch Datasets, which are larger than memory, with those of a few
             samples. It raises ValueError, or returns what is wrong, in words
    predict: `predict(output, classes)`, called with the outputs for one input: what `hpo predict` says of it, anything
             that JSON can hold. None: the numbers
    The targets are what the data set's `targets=Tensor(...)` says.
    """

    name: str
    loss: Any
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    outputs: tuple[int, ...] | None = None
    check: Any = None
    predict: Any = None

    def __post_init__(self) -> None:
        if not is_file_name(self.name) or self.name in TASKS:
            why = "hpo has a task of that name" if self.name in TASKS else "it is no single word"
            raise StudyError(f"Task({self.name!r}): {why}", next='Task("boxes", loss=...), from hpo import Task')
        if self.loss is None or self.loss == () or self.loss == []:
            raise StudyError(f'Task("{self.name}") has no loss', next='loss=Loss("my_task:loss"), from hpo import Loss')
        object.__setattr__(self, "loss", of_kind("loss", self.loss))
        if not isinstance(self.metrics, Mapping):
            raise StudyError(
                f'Task("{self.name}", metrics={self.metrics!r}) is no mapping of names to metrics',
                next='metrics={"overlap": Metric("my_task:overlap", direction="maximize")}, from hpo import Metric',
            )
        self._check_outputs()
        for name, kind in (("check", Check), ("predict", Predict)):
            given: str | Callable[..., Any] | Part | None = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                object.__setattr__(self, name, kind(given))  # type: ignore[arg-type]

    def _check_outputs(self) -> None:
        if self.outputs is None:
            return
        sizes = self.outputs if isinstance(self.outputs, tuple | list) else ()
        if not sizes or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            raise StudyError(
                f'Task("{self.name}", outputs={self.outputs!r}) is no shape',
                next="outputs=(4,) where a network gives four numbers for one sample",
            )
        object.__setattr__(self, "outputs", tuple(sizes))

    @property
    def row(self) -> TaskRow:
        """As the table of hpo's own tasks has it."""
        gives = f"the task's outputs, {list(self.outputs)}" if self.outputs else "`classes` outputs"
        return TaskRow(False, {}, "as the data set's targets=Tensor(...) says", gives)

    @property
    def functions(self) -> dict[str, Part]:
        """Those beside loss and metrics, by name."""
        return {name: part for name in ("check", "predict") if (part := getattr(self, name)) is not None}


def check_task(task: object) -> None:
    """Raise StudyError for a task that hpo does not know."""
    if task is not None and not isinstance(task, Task) and (not isinstance(task, str) or task not in TASKS):
        raise StudyError(
            f"task is {task!r}, which hpo does not know",
            evidence=[near_miss(str(task), TASKS)],
            next='correct the name, or bring your own: task=Task("boxes", loss="my_task:loss"), from hpo import Task',
        )


def with_task(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a study with the loss and the metrics of its Task. Raises StudyError where both have one."""
    task = values["task"]
    if values["loss"] not in (None, (), [], task.loss):
        raise StudyError(
            f'loss={values["loss"]!r} and Task("{task.name}", loss=...) both say what training minimizes',
            next=f'give every loss to Task("{task.name}", loss=[...]); a row called "loss" chooses',
        )
    metrics = values["metrics"] or {}
    same = isinstance(metrics, Mapping) and all(
        metrics[name] == task.metrics[name] for name in task.metrics.keys() & metrics
    )
    if not same:
        raise StudyError(
            f"metrics={metrics!r} beside those of the task, {', '.join(task.metrics) or 'none'}",
            next='metrics={"overlap": Metric("my_task:overlap", direction="maximize")}, each name once',
        )
    return {**values, "loss": task.loss, "metrics": {**task.metrics, **metrics}}
