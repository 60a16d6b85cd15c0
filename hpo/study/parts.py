"""Parts of training that are the user's own: a loss, an optimizer, a schedule, metrics. Each is a function.

    loss=Loss("my_parts:focal", reads={"gamma": Reads(float, 2.0)})
    metrics={"macro_f1": Metric("my_parts:macro_f1", direction="maximize")}

As for a Model, a trainer imports the function by its name, and the rows of the study give what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hpo.errors import StudyError, near_miss
from hpo.models import Reads
from hpo.own_metrics import is_metric_name
from hpo.study.function import function_reference, shown_reference
from hpo.study.protocol import METRICS, OWN_METRIC
from hpo.study.recipe import LOSSES, RECIPE, Setting

__all__ = ["CHOSEN", "Loss", "Metric", "Optimizer", "Part", "Parts", "Schedule", "of_kind", "parts_given"]

RESERVED = ("lr", "seconds", "epoch", "step", "trial")
"""Names that a curve's columns have already."""

CHOSEN = ("loss", "optimizer", "schedule")
"""The kinds of parts of which a configuration has one: the row of that name chooses it."""


@dataclass(frozen=True)
class Part:
    """A function of the user's own, "module:name" or the function itself, and the parameters that it reads."""

    function: str | Callable[..., Any]
    reads: Mapping[str, Reads] = field(default_factory=dict)

    takes: ClassVar[str] = ""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        object.__setattr__(self, "function", function_reference(self.function, kind.lower(), self.takes))
        if not isinstance(self.reads, Mapping) or not all(isinstance(one, Reads) for one in self.reads.values()):
            raise StudyError(
                f"{kind}({self.shown!r}, reads={self.reads!r}) does not say what it reads",
                next=f'{kind}(..., reads={{"gamma": Reads(float, 2.0)}}), from hpo.models import Reads',
            )

    @property
    def reference(self) -> str:
        """ "module:name" or "/path/file.py:name"."""
        assert isinstance(self.function, str)
        return self.function

    @property
    def shown(self) -> str:
        """The reference as every host writes it: without the folder of its file."""
        return shown_reference(self.reference)

    def as_job(self) -> dict[str, Any]:
        """As a job carries it."""
        return {"function": self.reference, "reads": list(self.reads)}

    def __str__(self) -> str:
        return self.shown + (f" reads {', '.join(self.reads)}" if self.reads else "")


@dataclass(frozen=True)
class Loss(Part):
    """What training minimizes: `loss(outputs, targets, **parameters)` -> tensor [], the mean over the batch.

    Or a class such as torch.nn.HuberLoss, made with the parameters and called with (outputs, targets).
    """

    takes: ClassVar[str] = "outputs, targets"


@dataclass(frozen=True)
class Metric(Part):
    """What an epoch is scored by on the validation part. direction: "maximize" or "minimize".

    A function `metric(outputs, targets, **parameters)` -> number gets the outputs and targets of all of it at once; a
    class is made with the parameters, and its `update(outputs, targets)` gets one batch after the other, then
    `compute()` gives the number, as in torchmetrics.
    """

    direction: str = ""

    takes: ClassVar[str] = "outputs, targets"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in ("minimize", "maximize"):
            raise StudyError(
                f"Metric({self.shown!r}, direction={self.direction!r}) does not say which way it is better",
                next=f'Metric({self.shown!r}, direction="maximize"), or "minimize"',
            )

    def as_job(self) -> dict[str, Any]:
        """As a job carries it."""
        return {**super().as_job(), "direction": self.direction}

    def __str__(self) -> str:
        return f"{self.direction} {super().__str__()}"


@dataclass(frozen=True)
class Optimizer(Part):
    """What updates the weights: `build(parameters, lr, **read)` -> torch.optim.Optimizer, as its classes are made.

    A function whose first argument is called `model` gets the network in place of its parameters, and may give its
    groups a learning rate each: the schedule scales them alike.
    """

    takes: ClassVar[str] = "parameters, lr"


@dataclass(frozen=True)
class Schedule(Part):
    """The learning rate over time: `factor(step, steps, steps_per_epoch, **parameters)` -> the factor on `lr`.

    step counts from 0 to steps - 1, the last step of the last epoch. The warm-up of `warmup_epochs` multiplies it.
    """

    takes: ClassVar[str] = "step, steps, steps_per_epoch"


@dataclass(frozen=True)
class Parts:
    """The parts of one study: those that a row chooses among, by kind, and its metrics by name.

    of_task, outputs: of a Task of the user's own: its functions by name, and the shape of a network's outputs
    """

    chosen: Mapping[str, tuple[Part, ...]]
    metrics: Mapping[str, Metric]
    task: str = "classification"
    of_task: Mapping[str, Part] = field(default_factory=dict)
    outputs: tuple[int, ...] | None = None

    def __iter__(self) -> Iterator[Part]:
        for parts in self.chosen.values():
            yield from parts
        yield from self.metrics.values()
        yield from self.of_task.values()

    def settings(self) -> dict[str, Setting]:
        """The table of the recipe, in which the rows that choose a part may have these, too."""
        of_hpo = {**{kind: RECIPE[kind].choices for kind in self.chosen}, "loss": LOSSES.get(self.task, ())}
        own = {
            kind: replace(RECIPE[kind], choices=(*of_hpo[kind], *(part.shown for part in parts)))
            for kind, parts in self.chosen.items()
        }
        return {**RECIPE, **own}

    def only(self, kind: str, rows: Mapping[str, Any]) -> Part | None:
        """The part that every configuration has, because it is the only one and no row chooses."""
        parts = self.chosen[kind]
        return parts[0] if len(parts) == 1 and kind not in rows else None

    def resolve(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The parts that no row chooses, and what the parts of `config` read by default."""
        found: dict[str, Any] = {}
        for kind, parts in self.chosen.items():
            part = self.only(kind, config)
            if part is not None:
                found[kind] = part.shown
            name = found.get(kind, config.get(kind))
            found |= _defaults([one for one in parts if one.shown == name])
        return found | _defaults(self.metrics.values())

    def readers(self, rows: Mapping[str, Any]) -> Iterator[tuple[str, Reads, dict[str, tuple[str, ...]]]]:
        """(parameter, how it is read, the choices under which it is), for each that a part reads."""
        for kind, parts in self.chosen.items():
            for part in parts:
                needs: dict[str, tuple[str, ...]] = {} if part is self.only(kind, rows) else {kind: (part.shown,)}
                yield from ((name, reads, needs) for name, reads in part.reads.items())
        for metric in self.metrics.values():
            yield from ((name, reads, {}) for name, reads in metric.reads.items())

    def as_job(self) -> dict[str, Any]:
        """As a job carries them; empty where the study has none."""
        kinds: dict[str, Any] = {
            kind: {part.shown: part.as_job() for part in parts} for kind, parts in self.chosen.items() if parts
        }
        metrics = {name: metric.as_job() for name, metric in self.metrics.items()}
        kinds |= {"metrics": metrics} if metrics else {}
        kinds |= {"of_task": {name: part.as_job() for name, part in self.of_task.items()}} if self.of_task else {}
        kinds |= {"outputs": list(self.outputs)} if self.outputs else {}
        return kinds | ({"task": self.task} if self.task != "classification" else {})

    def declaration(self) -> dict[str, str]:
        """A row for each kind that the study has a part of."""
        kinds = {kind: " | ".join(map(str, parts)) for kind, parts in self.chosen.items() if parts}
        metrics = {f"metric {name}": str(metric) for name, metric in self.metrics.items()}
        task = {"task": self.task} if self.task != "classification" else {}
        task |= {f"task {name}": str(part) for name, part in self.of_task.items()}
        task |= {"task outputs": ", ".join(map(str, self.outputs))} if self.outputs else {}
        return {f"({name})": text for name, text in {**task, **kinds, **metrics}.items()}


def _defaults(parts: Any) -> dict[str, Any]:
    return {name: reads.default for part in parts for name, reads in part.reads.items() if reads.default is not None}


def parts_given(given: Mapping[str, Any], computed: Mapping[str, Metric]) -> Parts:
    """The fields loss, optimizer, schedule and metrics of a study. StudyError for what is no part.

    computed: metrics that come with hpo, which a study may ask for by name
    """
    chosen = {kind: of_kind(kind, given[kind]) for kind in CHOSEN}
    metrics = {} if given["metrics"] is None else given["metrics"]
    if isinstance(metrics, list | tuple) and all(isinstance(name, str) for name in metrics):
        metrics = {name: name for name in metrics}  # hpo's own
    if not isinstance(metrics, Mapping):
        raise StudyError(f"metrics is {metrics!r}, not a mapping of names to metrics", next=OWN_METRIC)
    found = {name: _metric(name, metric, computed) for name, metric in metrics.items()}
    return Parts(chosen, found)


def of_kind(kind: str, given: Any) -> tuple[Part, ...]:
    """One part or several, each as such or as the function alone. kind: of CHOSEN."""
    make: type[Part] = {"loss": Loss, "optimizer": Optimizer, "schedule": Schedule}[kind]
    listed = given if isinstance(given, tuple | list) else () if given is None else (given,)
    parts = []
    for one in listed:
        if isinstance(one, str) and ":" not in one:
            raise StudyError(
                f"{kind}={one!r} is not of the form module:name",
                next=f'"{kind}": {one!r} in the space, for one that comes with hpo; {RECIPE[kind].own}, for your own',
            )
        if isinstance(one, Part) and not isinstance(one, make):
            raise StudyError(f"{kind} is a {type(one).__name__}, not a {make.__name__}", next=RECIPE[kind].own)
        parts.append(one if isinstance(one, make) else make(one))
    names = [part.shown for part in parts]
    if len(set(names)) < len(names):
        raise StudyError(f"{kind} names {', '.join(names)}", next="give each a name of its own")
    return tuple(parts)


def _metric(name: Any, given: Any, computed: Mapping[str, Metric]) -> Metric:
    if name in computed and given in (name, computed[name]):
        return computed[name]
    if isinstance(given, str) and given == name:
        raise StudyError(
            f'metrics names "{name}", which hpo does not compute here',
            evidence=[near_miss(name, computed)],
            next=f"correct the name, or bring a metric of your own: {OWN_METRIC}",
        )
    if not is_metric_name(name) or set(name) & set(" ,\t\n"):
        raise StudyError(f"metrics: {name!r} is not the name of a metric", next="use a word, such as macro_f1")
    if name in METRICS or name in computed or name in RESERVED:
        raise StudyError(f"metrics: hpo reports a {name} of its own", next=f'another name, such as "my_{name}"')
    if not isinstance(given, Metric):
        raise StudyError(f"metrics[{name!r}] is {given!r}, not a Metric with a direction", next=OWN_METRIC)
    return given
