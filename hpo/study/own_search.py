"""A sampler or a pruner of Optuna's that a function, a class or an object of the user's own gives, by its name."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import HpoError, StudyError
from hpo.study.function import function_reference, shown_reference
from hpo.study.pruners import MedianPruner, Patient, Pruner
from hpo.study.samplers import TPE, Fixed, Sampler
from hpo.user_code import line_of
from hpo.user_function import load_named
from hpo.wording import shortened

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from hpo.study.space import Space

__all__ = ["OwnPruner", "OwnSampler", "PrunerField", "SamplerField", "pruner_of", "sampler_of", "told_at_its_line"]


@dataclass(frozen=True)
class OwnSampler(Sampler):
    """sampler="my_search:sampler": an object of a subclass of optuna.samplers.BaseSampler, or what makes one.

    What makes one is called for every trial, with a seed of the trial's if it takes `seed`, so that a search can be
    done again. An object is used for all trials of a host, and keeps what it remembers between them.
    """

    reference: str = ""

    def __str__(self) -> str:
        return f'"{shown_reference(self.reference)}"'

    def build(self, space: Space, seed: int) -> BaseSampler:
        from optuna.samplers import BaseSampler, CmaEsSampler

        made = _made("sampler", self.reference, BaseSampler, seed=seed)
        if any(isinstance(one, CmaEsSampler) for one in (made, *vars(made).values())):  # by itself, or in another
            raise StudyError(
                f"{self} is Optuna's CmaEsSampler, which runs what the database holds: it keeps a pickle there",
                next="sampler=CmaEs(), which proposes the same without one",
            )
        assert isinstance(made, BaseSampler)
        return made


@dataclass(frozen=True)
class OwnPruner(Pruner):
    """pruner="my_search:pruner": an object of a subclass of optuna.pruners.BasePruner, or what makes one."""

    reference: str = ""

    def __str__(self) -> str:
        return f'"{shown_reference(self.reference)}"'

    def build(self, epochs: int, workers: int) -> BasePruner:
        from optuna.pruners import BasePruner

        made = _made("pruner", self.reference, BasePruner)
        assert isinstance(made, BasePruner)
        return made


class SamplerField:
    """A study's field `sampler`: given as a Sampler, "module:name" or a function, kept as a Sampler."""

    def __get__(self, study: object, owner: type | None = None) -> Sampler:
        kept: Sampler = TPE() if study is None else vars(study)["sampler"]
        return kept

    def __set__(self, study: object, given: Sampler | str | Callable[..., Any]) -> None:
        vars(study)["sampler"] = sampler_of(given)


class PrunerField:
    """The same for a pruner."""

    def __get__(self, study: object, owner: type | None = None) -> Pruner:
        kept: Pruner = MedianPruner() if study is None else vars(study)["pruner"]
        return kept

    def __set__(self, study: object, given: Pruner | str | Callable[..., Any]) -> None:
        vars(study)["pruner"] = pruner_of(given)


def sampler_of(given: Any) -> Any:
    """The sampler that a study's field names: "module:name" and a function become an OwnSampler. Anything else stays,
    for who checks the field."""
    return OwnSampler(reference=_reference(given, "sampler", "seed")) if _is_named(given, Sampler) else given


def pruner_of(given: Any) -> Any:
    """The same for a pruner."""
    return OwnPruner(reference=_reference(given, "pruner", "")) if _is_named(given, Pruner) else given


def _is_named(given: Any, declared: type) -> bool:
    if isinstance(given, str):
        return ":" in given
    return callable(given) and not (isinstance(given, type) and issubclass(given, declared))


def _reference(given: Any, what: str, argument: str) -> str:
    """With the file of a module beside the study's file, which no other process has to find again."""
    reference = function_reference(given, what, argument)
    place, _, name = reference.rpartition(":")
    try:
        spec = None if place.endswith(".py") else importlib.util.find_spec(place)
    except (ImportError, ValueError):
        return reference  # loading it says why
    if spec is None or spec.origin is None or "." in place or "site-packages" in Path(spec.origin).parts:
        return reference
    return f"{spec.origin}:{name}"


def _made(what: str, reference: str, kind: type, **offered: Any) -> Any:
    named = load_named(reference)
    if isinstance(named, kind):
        return named
    shown = shown_reference(reference)
    example = (
        f"def {reference.rpartition(':')[2]}({', '.join(offered)}): return optuna.{what}s.{kind.__name__[4:]}(...)"
    )
    if not callable(named):
        raise StudyError(f"{what}={shown!r} is {shortened(repr(named))}, no {what} of Optuna's", next=example)
    with _told(f"{what}={shown!r}"):
        made = named(**_taken(named, offered))
    if not isinstance(made, kind):
        raise StudyError(f"{what}={shown!r} returns {shortened(repr(made))}, no {what} of Optuna's", next=example)
    return made


@contextmanager
def told_at_its_line(option: Sampler | Pruner) -> Iterator[None]:
    """An error of a sampler or a pruner of the user's own is a StudyError with its line; any other goes on as it is."""
    inner = option.sampler if isinstance(option, Fixed) else option.pruner if isinstance(option, Patient) else option
    if not isinstance(inner, OwnSampler | OwnPruner):
        yield
        return
    with _told(f"{'sampler' if isinstance(inner, OwnSampler) else 'pruner'}={shown_reference(inner.reference)!r}"):
        yield


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except HpoError:
        raise
    except Exception as error:  # the user's code may raise anything
        place = line_of(error)
        raise StudyError(
            f"{what} raises {type(error).__name__}: {shortened(str(error))}",
            evidence=[place] if place else [],
            next="mend that line, then run it again",
        ) from error


def _taken(function: Any, offered: dict[str, Any]) -> dict[str, Any]:
    """The part of `offered` that the function takes by name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return {name: value for name, value in offered.items() if anything or name in parameters}
