"""Every field of a study, of its type and in its range, before anything reads it: one StudyError naming the field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import hpo.pruners
import hpo.samplers
from data import Dataset
from hpo.declared import is_number
from hpo.errors import StudyError
from hpo.protocol import METRICS, AtMost, EarlyStopping, StopWhen, check_metric
from hpo.pruners import Pruner
from hpo.recipe import REQUIRED
from hpo.samplers import Sampler
from hpo.space import Space
from models import Model

if TYPE_CHECKING:
    from hpo.study import Study

__all__ = ["check_fields", "check_objectives"]

MOST_EPOCHS = 1_000_000
"""Of a trial: more than that is a typing error. The database counts epochs in 32 bits."""

_BASELINE = 'baseline={"batch_size": 64, "lr": 1e-3, ...}: one value for every row searched, what you would try first'
_SPACE = 'space={"batch_size": 64, "lr": Float(1e-4, 1e-1, log=True), ...}, from hpo import Float'


def check_fields(study: Study) -> None:
    """Raise StudyError for the first field that no study could have, whatever the others are."""
    _check_given(study)
    _check_name(study.name)
    _of_type("dataset", study.dataset, (str, Dataset), "the name of a data set or a Dataset", 'dataset="digits"')
    _of_type("model", study.model, (str, Model), "the name of a model or a Model", 'model="mlp"')
    _of_type("space", study.space, (Mapping, Space), "a table of rows", _SPACE)
    _of_type("baseline", study.baseline, Mapping, "a configuration", _BASELINE)
    _check_parts(study)
    _check_numbers(study)
    _of_type("description", study.description, str, "text", 'description="what this study is about"')


def check_objectives(study: Study) -> None:
    """Raise StudyError unless every objective is a metric, with a direction, and the first can decide pruning."""
    _texts("objective", study.objective, f'objective="{next(iter(METRICS))}"')
    if study.direction is not None:
        _texts("direction", study.direction, 'direction="maximize", or leave it out: each metric knows its own')
    if not study.objectives:
        raise StudyError(f'study "{study.name}" has no objective', evidence=[f"known: {', '.join(METRICS)}"])
    for metric in study.objectives:
        check_metric(f'study "{study.name}": objective', metric)
    check_metric("the first objective, which decides pruning,", study.objectives[0], per_epoch=True)
    if len(study.directions) != len(study.objectives) or set(study.directions) - {"maximize", "minimize"}:
        raise StudyError(f"direction={study.direction!r} must give maximize or minimize for each of {study.objectives}")


def _check_given(study: Study) -> None:
    examples = {
        "name": 'name="my_study"',
        "dataset": 'dataset="digits"',
        "model": 'model="mlp"',
        "space": _SPACE,
        "baseline": _BASELINE,
    }
    for name, example in examples.items():
        if getattr(study, name) is REQUIRED:
            why = ": every search is measured against one" if name == "baseline" else ""
            raise StudyError(f"the study has no {name}{why}", next=f"add {example}")


def _check_name(name: object) -> None:
    # Study names become folder names and file names, so nothing in them may climb out of a folder.
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}", name):
        raise StudyError(f"{name!r} is not a study name", next="use letters, digits, _, - and ., at most 100")


def _check_parts(study: Study) -> None:
    _choice("sampler", study.sampler, Sampler, "TPE", hpo.samplers.__all__)
    _choice("pruner", study.pruner, Pruner, "MedianPruner", hpo.pruners.__all__)
    if study.early_stopping is not None:
        example = "early_stopping=EarlyStopping(patience=3), from hpo import EarlyStopping"
        _of_type("early_stopping", study.early_stopping, EarlyStopping, "an EarlyStopping", example)
    if study.stop_when is not None:
        example = "stop_when=StopWhen(epoch=5, at_least=0.99), from hpo import StopWhen"
        _of_type("stop_when", study.stop_when, StopWhen, "a StopWhen", example)
    limits = "constraints=(AtMost(...),), from hpo import AtMost"
    _of_type("constraints", study.constraints, (tuple, list), "a sequence of AtMost", limits)
    for index, rule in enumerate(study.constraints):
        _of_type(f"constraints[{index}]", rule, AtMost, "an AtMost", limits)
    _of_type("known", study.known, (tuple, list), "a list of configurations", 'known=[{"lr": 1e-3, ...}]')
    for index, config in enumerate(study.known):
        _of_type(f"known[{index}]", config, Mapping, "a configuration", 'known=[{"lr": 1e-3, ...}]')


def _check_numbers(study: Study) -> None:
    _whole("epochs", study.epochs, 1, MOST_EPOCHS)
    _whole("seed", study.seed, 0, 2**31 - 1)
    if study.folds is not None:
        _whole("folds", study.folds, 2, 1000)
    if study.subset is not None:
        _whole("subset", study.subset, 20)
    if study.validation is not None and not (is_number(study.validation) and 0.0 < study.validation < 1.0):
        raise StudyError(f"validation={study.validation!r} must lie between 0 and 1")
    if study.max_seconds is not None and not (is_number(study.max_seconds) and 0.0 < study.max_seconds < 1e9):
        raise StudyError(f"max_seconds={study.max_seconds!r} must be a positive number of seconds")


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
        evidence=[f"known: {', '.join(sorted(by_lower.values()))}"],
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
