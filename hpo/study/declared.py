"""What samplers and pruners share: they print as they are written, say which of their numbers is impossible, and take
what else Optuna's class takes as `arguments`."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hpo.errors import StudyError, near_miss
from hpo.wording import shortened

__all__ = ["DeclaredOption", "OptunaOption", "at_least", "check_arguments", "is_number", "made_by_optuna"]


@dataclass(frozen=True)
class DeclaredOption:
    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._words())})"

    def _words(self) -> list[str]:
        return [f"{f.name}={_shown(getattr(self, f.name))}" for f in fields(self) if f.name != "arguments"]


@dataclass(frozen=True)
class OptunaOption(DeclaredOption):
    """arguments: more keyword arguments for Optuna's class, numbers and text: TPE(arguments={"multivariate": False})"""

    arguments: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def _words(self) -> list[str]:
        return [*super()._words(), *([f"arguments={dict(self.arguments)!r}"] if self.arguments else [])]


def made_by_optuna(option: OptunaOption, module: str, name: str, /, **own: Any) -> Any:
    """optuna.<module>.<name>, called with what hpo gives it and `option`'s arguments. Raises StudyError for an argument
    that the class does not have or refuses, or that hpo gives itself."""
    from optuna.exceptions import ExperimentalWarning

    made = getattr(importlib.import_module(f"optuna.{module}"), name)
    taken = inspect.signature(made).parameters
    for argument in option.arguments:
        if argument in own:
            raise StudyError(
                f"{type(option).__name__}(arguments=...) names {argument}, which hpo gives to {name} itself",
                next=f"leave it out; {type(option).__name__} has fields of its own",
            )
        if argument not in taken:
            known = [each for each in taken if each not in own]
            raise StudyError(
                f"Optuna's {name} has no argument {argument!r}", evidence=[near_miss(argument, known or ["none"])]
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the declaration names it, and hpo's tests hold it
            return made(**own, **option.arguments)
    except (TypeError, ValueError) as error:
        raise StudyError(f"Optuna's {name} refuses {option}: {error}") from error


def check_arguments(option: OptunaOption) -> None:
    """Raise StudyError for arguments that are not a table of data: they are part of the declaration, as text."""
    owner = type(option).__name__
    example = f'{owner}(arguments={{"name": value}}), with what Optuna\'s class takes'
    if not isinstance(option.arguments, Mapping) or not all(isinstance(name, str) for name in option.arguments):
        raise StudyError(f"{owner}(arguments={shortened(repr(option.arguments))}) is no table", next=example)
    for name, value in option.arguments.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StudyError(
                f"{owner}: the argument {name}={shortened(repr(value))} is an object, not data",
                next='write a function that returns the whole of it, and name that: "my_module:function"',
            ) from error


def at_least(owner: str, name: str, value: int, least: int) -> None:
    """Raise StudyError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise StudyError(f"{owner}({name}={value!r}) must be a whole number of at least {least}")


def is_number(value: object) -> bool:
    """Whether `value` is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def _shown(value: object) -> str:
    return str(value) if isinstance(value, DeclaredOption) else repr(value)
