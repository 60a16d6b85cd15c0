"""Checks the type and range of every field of a study before anything reads it: one StudyError that names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import hpo.study.pruners
import hpo.study.samplers
from hpo.data import Dataset
from hpo.errors import StudyError
from hpo.models import Model
from hpo.names import is_file_name
from hpo.own_metrics import is_metric_name
from hpo.study.declared import check_arguments, is_number
from hpo.study.doors import check_dataset_given, check_model_given, check_objective_given
from hpo.study.parameters import edge_values
from hpo.study.protocol import AtMost, EarlyStopping, StopWhen, check_metric
from hpo.study.pruners import Pruner
from hpo.study.recipe import REQUIRED
from hpo.study.samplers import Grid, Sampler
from hpo.study.search import FreezeThaw, check_search_fields
from hpo.study.space import Space

__all__ = [
    "CALLBACKS",
    "check_command_fields",
    "check_fields",
    "check_metrics",
    "check_objective_fields",
    "check_train_fields",
    "metrics_named",
]

MOST_EPOCHS = 1_000_000
"""The most epochs of a trial: more is a typing error, and the database counts epochs in 32 bits."""

_BASELINE = 'baseline={"batch_size": 64, "lr": 1e-3, ...}: one value for every row searched, what you would try first'
_SPACE = 'space={"batch_size": 64, "lr": Float(1e-4, 1e-1, log=True), ...}, from hpo import Float'


CALLBACKS = ("on_trial_end", "on_new_best", "on_end")
"""Fields that hold functions of the user's own, called while a study is searched."""


def check_fields(values: Mapping[str, Any]) -> None:
    """Raise StudyError for the first field, by name, whose value no study could have."""
    check_objective_given(values["objective"])
    _check_given(values, ("name", "dataset", "model", "space", "baseline"))
    _check_name(values["name"])
    if values["final"] is not None:
        raise StudyError("final= goes with train=, a function of your own; hpo evaluates what it trains by itself")
    check_dataset_given(values["dataset"])
    check_model_given(values["model"])
    _of_type("dataset", values["dataset"], (str, Dataset), "the name of a data set or a Dataset", 'dataset="digits"')
    _of_type("model", values["model"], (str, Model), "the name of a model or a Model", 'model="mlp"')
    _of_type("space", values["space"], (Mapping, Space), "a table of rows", _SPACE)
    _of_type("baseline", values["baseline"], Mapping, "a configuration", _BASELINE)
    _check_parts(values)
    _check_numbers(values)
    _of_type("description", values["description"], str, "text", 'description="what this study is about"')


_HPO_TRAINS = (
    "dataset", "model", "early_stopping", "stop_when", "constraints", "validation", "folds", "seeds", "subset",
    "loss", "optimizer", "schedule", "metrics", "task",
)  # fmt: skip
"""Fields about how hpo trains a model."""


def check_objective_fields(values: Mapping[str, Any]) -> None:
    """The same for a study whose objective is a function of the user's own, which suggests and trains by itself."""
    for name in (*_HPO_TRAINS, "space", "direction", "max_seconds", "train", "final", "command"):
        _check_absent(name, values, "objective", "give the direction to Objective(...)" if name == "direction" else "")
    _check_given(values, ("name",))
    _check_name(values["name"])
    if values["baseline"] is not REQUIRED:
        _of_type("baseline", values["baseline"], Mapping, "a table of parameters", 'baseline={"lr": 1e-3}')
    _check_parts(values)
    _whole("seed", values["seed"], 0, 2**31 - 1)
    _of_type("description", values["description"], str, "text", 'description="what this study is about"')
    if isinstance(values["sampler"], Grid):
        raise StudyError(
            "Grid() needs a table of rows, and this objective suggests as it goes",
            next="sampler=QMC(), which spreads its points evenly, or TPE()",
        )


def check_train_fields(values: Mapping[str, Any]) -> None:
    """The same for a study that a function of the user's own trains, with declared rows."""
    _check_with_rows(values, "function in train=", (*_HPO_TRAINS, "command"))
    _check_numbers(values)


def check_command_fields(values: Mapping[str, Any]) -> None:
    """The same for a study whose training is a command: it has rows and an objective by name, and no model."""
    _check_with_rows(values, "command", (*_HPO_TRAINS, "max_seconds", "train", "final"))
    _whole("seed", values["seed"], 0, 2**31 - 1)


def _check_with_rows(values: Mapping[str, Any], who: str, without: Sequence[str]) -> None:
    """The fields of a training of the user's own that is given declared rows, and names what it reports."""
    for name in without:
        _check_absent(name, values, who)
    if not isinstance(values["objective"], str | tuple | list):
        raise StudyError(
            f"the {who} trains by itself, so objective={values['objective']!r} has no meaning",
            next='objective="val_loss": the metric that it reports',
        )
    _check_given(values, ("name", "space", "baseline"))
    _check_name(values["name"])
    _of_type("space", values["space"], (Mapping, Space), "a table of rows", _SPACE)
    _of_type("baseline", values["baseline"], Mapping, "a configuration", _BASELINE)
    _check_parts(values)
    _of_type("description", values["description"], str, "text", 'description="what this study is about"')
    _check_reported(values["objective"], values["direction"])


def _check_reported(objective: str | Sequence[str], direction: object) -> None:
    """Each metric has a name, and a direction: hpo cannot know which way it is better."""
    _texts("objective", objective, 'objective="val_loss"')
    metrics = [objective] if isinstance(objective, str) else list(objective)
    ways = [direction] if isinstance(direction, str) else list(direction) if isinstance(direction, tuple | list) else []
    if not metrics or len(set(metrics)) != len(metrics) or not all(map(is_metric_name, metrics)):
        raise StudyError(f"objective={objective!r} does not name a metric, or names one twice")
    if spaced := [name for name in metrics if set(name) & set(" ,\t\n")]:
        raise StudyError(f"the objective {spaced[0]!r} has a space or a comma in it", next='objective="val_loss"')
    if len(ways) != len(metrics) or set(ways) - {"minimize", "maximize"}:
        raise StudyError(
            f"direction={direction!r} does not say which way {', '.join(metrics)} is better",
            next='direction="minimize", or "maximize"; for several metrics one of them for each',
        )


def _check_absent(name: str, values: Mapping[str, Any], who: str, instead: str = "") -> None:
    """Raise StudyError for a field that has no meaning where the user's own function trains."""
    if not _is_absent(values[name]):
        raise StudyError(
            f"the {who} trains by itself, so {name}={values[name]!r} has no meaning", next=instead or "leave it out"
        )


def _is_absent(value: object) -> bool:
    """Whether a field was not given, or is as a study with an objective of the user's own leaves it."""
    return value in (REQUIRED, None, (), "") or (isinstance(value, Space) and not value.rows)


def check_metrics(values: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Raise StudyError unless every metric that something goes by is `known`; every epoch has the first objective."""
    _check_objectives(values, known)
    if values["early_stopping"] is not None:
        check_metric("EarlyStopping(monitor=...)", values["early_stopping"].monitor, known, per_epoch=True)
    if values["stop_when"] is not None:
        check_metric("StopWhen(metric=...)", values["stop_when"].metric, known, per_epoch=True)
    for rule in values["constraints"]:
        check_metric("AtMost(...)", rule.metric, known)


def metrics_named(values: Mapping[str, Any]) -> list[str]:
    """The metrics that something in a checked study goes by, each once."""
    objective, space = values["objective"], values["space"]
    names = [objective] if isinstance(objective, str) else list(objective)
    names += [values["early_stopping"].monitor] if values["early_stopping"] is not None else []
    names += [values["stop_when"].metric] if values["stop_when"] is not None else []
    names += [rule.metric for rule in values["constraints"]]
    rows = space.rows if isinstance(space, Space) else space
    return list(dict.fromkeys([*names, *edge_values(rows.get("schedule_metric", "val_loss"))]))


def _check_objectives(values: Mapping[str, Any], known: Mapping[str, str]) -> None:
    study, objective, direction = (values[name] for name in ("name", "objective", "direction"))
    _texts("objective", objective, f'objective="{next(iter(known))}"')
    if direction is not None:
        _texts("direction", direction, 'direction="maximize", or leave it out: each metric knows its own')
    objectives = (objective,) if isinstance(objective, str) else tuple(objective)
    if not objectives:
        raise StudyError(f'study "{study}" has no objective', evidence=[f"known: {', '.join(known)}"])
    for metric in objectives:
        check_metric(f'study "{study}": objective', metric, known)
    check_metric("the first objective, which decides pruning,", objectives[0], known, per_epoch=True)
    if direction is not None:
        directions = (direction,) if isinstance(direction, str) else tuple(direction)
        if len(directions) != len(objectives) or set(directions) - {"maximize", "minimize"}:
            raise StudyError(f"direction={direction!r} must give maximize or minimize for each of {objectives}")


def _check_given(values: Mapping[str, Any], needed: Sequence[str]) -> None:
    examples = {
        "name": 'name="my_study"',
        "dataset": 'dataset="digits"',
        "model": 'model="mlp"',
        "space": _SPACE,
        "baseline": _BASELINE,
    }
    for name in needed:
        if values[name] is REQUIRED:
            why = ": every search is measured against one" if name == "baseline" else ""
            raise StudyError(f"the study has no {name}{why}", next=f"add {examples[name]}")


def _check_name(name: object) -> None:
    if not is_file_name(name):
        raise StudyError(f"{name!r} is not a study name", next="use letters, digits, _, - and ., at most 100")


def _check_parts(values: Mapping[str, Any]) -> None:
    _whole("devices_per_trial", values["devices_per_trial"], 1, 1024)
    for name in CALLBACKS:
        if values[name] is not None and not callable(values[name]):
            takes = "result" if name == "on_end" else "study, trial"
            raise StudyError(f"{name}={values[name]!r} is not a function", next=f"def {name}({takes}): ...")
    _choice("sampler", values["sampler"], Sampler, "TPE", hpo.study.samplers.__all__)
    _choice("pruner", values["pruner"], Pruner, "MedianPruner", hpo.study.pruners.__all__)
    check_arguments(values["sampler"])
    check_arguments(values["pruner"])
    if values["search"] is not None:
        _choice("search", values["search"], FreezeThaw, "FreezeThaw", ["FreezeThaw"])
    check_search_fields(values)
    if values["early_stopping"] is not None:
        example = "early_stopping=EarlyStopping(patience=3), from hpo import EarlyStopping"
        _of_type("early_stopping", values["early_stopping"], EarlyStopping, "an EarlyStopping", example)
    if values["stop_when"] is not None:
        example = "stop_when=StopWhen(epoch=5, at_least=0.99), from hpo import StopWhen"
        _of_type("stop_when", values["stop_when"], StopWhen, "a StopWhen", example)
    limits = "constraints=(AtMost(...),), from hpo import AtMost"
    _of_type("constraints", values["constraints"], (tuple, list), "a sequence of AtMost", limits)
    for index, rule in enumerate(values["constraints"]):
        _of_type(f"constraints[{index}]", rule, AtMost, "an AtMost", limits)
    _of_type("known", values["known"], (tuple, list), "a list of configurations", 'known=[{"lr": 1e-3, ...}]')
    for index, config in enumerate(values["known"]):
        _of_type(f"known[{index}]", config, Mapping, "a configuration", 'known=[{"lr": 1e-3, ...}]')


def _check_numbers(values: Mapping[str, Any]) -> None:
    _whole("epochs", values["epochs"], 1, MOST_EPOCHS)
    _whole("seed", values["seed"], 0, 2**31 - 1)
    if values["folds"] is not None:
        _whole("folds", values["folds"], 2, 1000)
    if values["subset"] is not None:
        _whole("subset", values["subset"], 20)
    if values["validation"] is not None and not (is_number(values["validation"]) and 0.0 < values["validation"] < 1.0):
        raise StudyError(f"validation={values['validation']!r} must lie between 0 and 1")
    if values["max_seconds"] is not None and not (
        is_number(values["max_seconds"]) and 0.0 < values["max_seconds"] < 1e9
    ):
        raise StudyError(f"max_seconds={values['max_seconds']!r} must be a positive number of seconds")


def _choice(field: str, value: object, kind: type, usual: str, names: Sequence[str]) -> None:
    """One of the classes in `names`, called; "median" and the class itself are what people write instead."""
    if isinstance(value, kind):
        return
    called = value.__name__ if isinstance(value, type) else str(value)
    by_lower = {name.lower(): name for name in names if name[0].isupper() and name != kind.__name__}
    close = get_close_matches(called.lower(), by_lower, n=1, cutoff=0.4)
    meant = by_lower[close[0]] if close else usual
    shown = f"the class {called}" if isinstance(value, type) else repr(value)
    raise StudyError(
        f"{field} is {shown}, not a {field}",
        evidence=[
            f"known: {', '.join(sorted(by_lower.values()))}",
            f'or one of your own: {field}="my_module:function", which returns a {field} of Optuna\'s',
        ],
        next=f"{field}={meant}(), from hpo import {meant}",
    )


def _of_type(field: str, value: object, kinds: type | tuple[type, ...], what: str, example: str) -> None:
    if not isinstance(value, kinds):
        raise StudyError(f"{field} is {value!r}, not {what}", next=example)


def _texts(field: str, value: object, example: str) -> None:
    listed = value if isinstance(value, (tuple, list)) else (value,)
    if not all(isinstance(one, str) for one in listed):
        raise StudyError(f"{field} is {value!r}, not a name or several", next=example)


def _whole(name: str, value: object, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise StudyError(f"{name}={value!r} must be a whole number of at least {least}")
    if most is not None and value > most:
        raise StudyError(f"{name}={value!r} must be at most {most:,}")
