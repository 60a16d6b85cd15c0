"""A study: a table of parameters over a model, a data set and a training recipe, checked when it is made.

    study = Study(name="mlp_mnist", dataset="mnist", model="mlp", space={...}, baseline={...})

Everything here is data: it prints, yields a fingerprint and refuses a mistake without torch and without a trial.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.data import DATASETS, Dataset
from hpo.messages import Protocol
from hpo.models import MODELS, Model, named_model
from hpo.study import fields
from hpo.study.command import Command, check_command
from hpo.study.declaration import declared, protocol_of
from hpo.study.doors import has_no_model
from hpo.study.function import function_reference
from hpo.study.objective import Objective
from hpo.study.own_search import PrunerField, SamplerField
from hpo.study.own_task import Task, check_task, with_task
from hpo.study.parts import CHOSEN, Parts, parts_given
from hpo.study.protocol import AtMost, EarlyStopping, StopWhen
from hpo.study.recipe import RECIPE, REQUIRED
from hpo.study.samplers import check_sampler
from hpo.study.search import Converged, FreezeThaw
from hpo.study.space import Space, space_of
from hpo.study.tasks import TASKS, TaskRow
from hpo.study.training import Training
from hpo.study.validation import check_rows, table_row

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """The declaration of a search. Raises StudyError for anything that could not run.

    name:           under which trials are stored; letters, digits, `_`, `-` and `.`
    dataset, model: a row of hpo.data.DATASETS and hpo.models.MODELS by name, or a Dataset / Model of your own;
                    "torchvision:resnet18" and "timm:resnet18d" are models, too
    space:          rows, searched or fixed, read by the model or by hpo.study.recipe.RECIPE
    objective:      a metric of hpo.study.protocol.METRICS, or several (Pareto front); `direction` to match. Or an
                    Objective, a function of your own that trains: then there is no data set, model or space
    command:        a program that trains, with placeholders: "python train.py --lr {lr}", a list of words, or a
                    Command: then there is no data set or model, and the objective is a metric that it reports
    epochs:         at most, for each trial; search: FreezeThaw(), in place of sampler and pruner (docs/search.md)
    repeat:         True trains a configuration again that a trial had; stop: Converged(), ends the study by itself
    warm_start:     an earlier study in the same database, or several: the best of its configurations come first
    baseline:       a full configuration, enqueued first: what you would try without a search
    train:          a function of your own that trains a configuration of the space, called with a hpo.Run: then there
                    is no data set and no model, and objective and direction name what it reports. final: that which
                    trains for `hpo evaluate`, and returns test metrics. known: what others found best, tried on request
    validation:     share of the train split held out; None takes the data set's own. folds: of a cross-validation: the
                    objective is their mean, pruning happens between them. seeds: of each trial, whose mean counts
    max_seconds:    a trial that trains longer ends as complete, with its best; subset: train on so many images only
    loss, optimizer, schedule: of your own, "module:name", a function, or a Loss, Optimizer or Schedule that says what
                    it reads; several where a row chooses. metrics: by name, each a Metric, or names of the task's
    task:           "classification" if none is given, another of hpo.study.tasks.TASKS, or a Task (docs/recipe.md)
    devices_per_trial: a trial trains on this many GPUs, or cores, of one host (docs/deploy.md)
    on_trial_end, on_new_best, on_end: functions of your own, called of what ends on a host (docs/callbacks.md)
    """

    name: str = REQUIRED  # a missing one gets an error in words, not Python's TypeError
    dataset: str | Dataset = REQUIRED
    model: str | Model = REQUIRED
    space: Mapping[str, Any] | Space = REQUIRED
    baseline: Mapping[str, Any] = REQUIRED
    objective: str | tuple[str, ...] | Objective = "val_accuracy"
    direction: str | tuple[str, ...] | None = None
    train: str | Callable[..., Any] | None = None
    final: str | Callable[..., Any] | None = None
    epochs: int = 20
    early_stopping: EarlyStopping | None = None
    stop_when: StopWhen | None = None
    max_seconds: float | None = None
    sampler: SamplerField = SamplerField()  # noqa: RUF009  # a Sampler, once it is set
    pruner: PrunerField = PrunerField()  # noqa: RUF009
    search: FreezeThaw | None = None
    repeat: bool = False
    stop: Converged | None = None
    warm_start: str | Sequence[str] = ()
    constraints: tuple[AtMost, ...] = ()
    known: Sequence[Mapping[str, Any]] = ()
    validation: float | None = None
    folds: int | None = None
    seeds: int | None = None
    subset: int | None = None
    seed: int = 0
    description: str = ""
    command: str | Sequence[str] | Command | None = None
    on_trial_end: Callable[..., object] | None = None
    on_new_best: Callable[..., object] | None = None
    on_end: Callable[..., object] | None = None
    loss: Any = None
    optimizer: Any = None
    schedule: Any = None
    metrics: Any = None
    task: str | Task | None = None
    devices_per_trial: int = 1

    def __post_init__(self) -> None:
        if self.command is not None:
            self._check_with_command(self.command)
        elif self.train is not None:
            self._check_with_function(self.train)
        elif self.define_by_run:
            fields.check_objective_fields(vars(self))
            baseline = {} if self.baseline is REQUIRED else self.baseline
            self._set(space=Space({}), baseline=baseline, epochs=0, dataset="", model="")
            return
        else:
            self._check_with_model()
        check_sampler(self.sampler, self.rows)
        self.rows.parameters(self.baseline, what="the baseline")
        for index, config in enumerate(self.known):
            self.rows.parameters(config, what=f"known[{index}]", complete=False)

    def _check_with_command(self, command: str | Sequence[str] | Command) -> None:
        fields.check_command_fields(vars(self))
        command = command if isinstance(command, Command) else Command(command)
        self._set(command=command, space=space_of(self.space), dataset="", model="", epochs=0)
        check_command(self.name, command, self.rows, self.objectives)

    def _check_with_function(self, function: str | Callable[..., Any]) -> None:
        fields.check_train_fields(vars(self))
        self._set(train=function_reference(function, "train", "run"), space=space_of(self.space), dataset="", model="")
        if self.final is not None:
            self._set(final=function_reference(self.final, "final", "run"))

    def _check_with_model(self) -> None:
        fields.check_fields(vars(self))
        check_task(self.task)
        given = with_task(vars(self)) if isinstance(self.task, Task) else vars(self)
        parts = parts_given(given, self.task_row.computed)
        self._set(space=space_of(self.space), metrics=parts.metrics, **parts.chosen)
        fields.check_metrics(vars(self), self.known_metrics)
        check_rows(self, self.parts)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def own(self) -> Objective | Training | None:
        """The function of the user's own that trains; None where hpo trains a model, or a command does."""
        if isinstance(self.objective, Objective):
            return self.objective
        if self.train is None:
            return None
        assert isinstance(self.train, str)
        directions = () if self.direction is None else _as_tuple(self.direction)
        return Training(self.train, _as_tuple(self.objective), directions, str(self.final or ""))

    @property
    def define_by_run(self) -> bool:
        """Whether the user's own function suggests its parameters as it goes, and the study has no rows."""
        return isinstance(self.objective, Objective)

    @property
    def program(self) -> Command | None:
        """The command that trains; None where there is none."""
        return self.command if isinstance(self.command, Command) else None

    @property
    def brings_training(self) -> bool:
        """Whether the user's own code trains, and there is no model of hpo's to train again."""
        return self.own is not None or self.program is not None

    @property
    def rows(self) -> Space:
        """The space, checked. Empty where the user's own function suggests as it goes."""
        assert isinstance(self.space, Space)
        return self.space

    @property
    def has_final(self) -> bool:
        """Whether the user's own file says how a configuration is trained for `hpo evaluate`."""
        return isinstance(self.own, Training) and bool(self.own.final)

    def check_trained_here(self, command: str) -> None:
        """Raise StudyError for `command`, which needs a model that hpo trains, where the user's own function does."""
        if self.brings_training:
            by_itself = self.own.shown if self.own is not None else "this study's command"
            final = "give the study final=, a function of a run that trains for good and returns test metrics"
            next = final if command == "evaluate" and self.train is not None else ""
            raise has_no_model(command, by_itself, self.name, next=next)

    @property
    def dataset_row(self) -> Dataset:
        row = self.dataset if isinstance(self.dataset, Dataset) else table_row("data set", self.dataset, DATASETS)
        return row.for_task(self.task_name)

    @property
    def model_row(self) -> Model:
        model = named_model(self.model) if isinstance(self.model, str) else self.model
        return model or table_row("model", self.model, MODELS)

    @property
    def dataset_name(self) -> str:
        return self.dataset if isinstance(self.dataset, str) else self.dataset.name

    @property
    def model_name(self) -> str:
        if trains := self.own or self.program:
            return trains.shown
        return self.model if isinstance(self.model, str) else self.model.builder

    @property
    def parts(self) -> Parts:
        """What of training is the user's own, and the metrics that are computed because the study names them."""
        named = fields.metrics_named(vars(self)) if not self.brings_training else ()
        metrics = {name: self.task_row.computed[name] for name in named if name in self.task_row.computed}
        chosen = {kind: getattr(self, kind) or () for kind in CHOSEN}
        of_task = (self.task.functions, self.task.outputs) if isinstance(self.task, Task) else ()
        return Parts(chosen, {**metrics, **(self.metrics or {})}, self.task_name, *of_task)

    @property
    def task_name(self) -> str:
        return self.task.name if isinstance(self.task, Task) else self.task or "classification"

    @property
    def task_row(self) -> TaskRow:
        return self.task.row if isinstance(self.task, Task) else TASKS[self.task_name]

    @property
    def known_metrics(self) -> dict[str, str]:
        """Every metric that training can report, and which way is better."""
        return self.task_row.known(self.metrics or {})

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.objective.metrics if isinstance(self.objective, Objective) else _as_tuple(self.objective)

    @property
    def directions(self) -> tuple[str, ...]:
        if self.own is not None:
            return self.own.directions
        if self.direction is None:
            return tuple(self.known_metrics[metric] for metric in self.objectives)
        return _as_tuple(self.direction)

    @property
    def judged_by(self) -> str:
        """What `hpo evaluate` goes by: accuracy, or the objective where it is a metric of the user's own."""
        first = self.objectives[0]
        by_objective = self.brings_training or self.task_row is not TASKS["classification"]
        return first if by_objective or first in self.parts.metrics else "val_accuracy"

    @property
    def judged_direction(self) -> str:
        return self.directions[0] if self.judged_by == self.objectives[0] else self.known_metrics[self.judged_by]

    @property
    def has_baseline(self) -> bool:
        """Whether trial 0 is a configuration to compare with: always, but for an objective without one."""
        return bool(self.baseline) or not self.define_by_run

    @property
    def baseline_config(self) -> dict[str, Any]:
        """The baseline, resolved: what trial 0's trainer reads."""
        return self.resolve(self.rows.configuration(self.parameters(self.baseline, what="the baseline")))

    def parameters(self, config: Mapping[str, Any], *, what: str, complete: bool = True) -> dict[str, Any]:
        """As Space.parameters. An objective has no rows to check them against: it suggests as it goes."""
        if self.define_by_run:
            return dict(config)
        return self.rows.parameters(config, what=what, complete=complete)

    def resolve(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with every default of the model and of the recipe filled in: what the trainer reads."""
        if self.brings_training:
            return dict(config)
        defaults: dict[str, Any] = {name: reads.default for name, reads in self.model_row.reads.items()}
        defaults |= {name: setting.default for name, setting in RECIPE.items()}
        resolved = {name: value for name, value in defaults.items() if value is not REQUIRED and value is not None}
        return resolved | self.parts.resolve(config) | dict(config)

    def protocol(self) -> Protocol:
        """The rules of every trial, as a job carries them."""
        return protocol_of(self)

    def declaration(self) -> dict[str, str]:
        """Every row that decides what a trial means, as text: compared when a study is opened again."""
        return declared(self)

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with the declaration and with nothing else."""
        text = json.dumps(self.declaration(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_tuple(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
