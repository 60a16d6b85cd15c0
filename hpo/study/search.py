"""How a study's trials are searched, where it is neither by a sampler nor by a pruner, and when that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.errors import StudyError
from hpo.names import is_file_name
from hpo.study.declared import DeclaredOption, at_least, is_number
from hpo.study.objective import Objective
from hpo.study.samplers import BruteForce, Grid

__all__ = ["Converged", "FreezeThaw", "check_search_fields"]


@dataclass(frozen=True)
class FreezeThaw(DeclaredOption):
    """Trials begin with a few epochs, wait, and go on where it pays: learned from all curves of the study.

    It proposes and it pauses, so the study's sampler and pruner are not asked; docs/search.md says when it pays. Where
    trials cannot wait, because the training cannot go on from a checkpoint, the sampler and the pruner do its work.
    """


@dataclass(frozen=True)
class Converged(DeclaredOption):
    """The study ends when as many trials again would gain less than two trainings of one configuration differ.

    noise:   how far they differ, a standard deviation of the objective; None measures it: the baseline is trained
             `repeats` times, each with a seed of its own
    trials:  it never ends before so many have
    """

    noise: float | None = None
    repeats: int = 4
    trials: int = 30

    def __post_init__(self) -> None:
        if self.noise is not None and not (is_number(self.noise) and 0.0 < self.noise < float("inf")):
            raise StudyError(
                f"Converged(noise={self.noise!r}) must be a positive number",
                next="the standard deviation of the objective between seeds, or leave it out",
            )
        at_least("Converged", "repeats", self.repeats, 3)
        at_least("Converged", "trials", self.trials, 20)


def check_search_fields(values: Mapping[str, Any]) -> None:
    """Raise StudyError for how a study is to be searched where it could not be."""
    if values["search"] is not None:
        _check_freeze_thaw(values)
    if not isinstance(values["repeat"], bool):
        raise StudyError(f"repeat={values['repeat']!r} must be True or False")
    _check_seeds(values)
    _check_stop(values)
    _check_warm_start(values)
    if isinstance(values["objective"], Objective):
        _check_objective(values)


def _check_freeze_thaw(values: Mapping[str, Any]) -> None:
    """It goes by one objective, after each epoch."""
    if isinstance(values["sampler"], Grid):
        raise StudyError(
            "FreezeThaw() proposes by itself, and Grid() has every combination in turn", next="leave out one"
        )
    if _objectives(values) > 1:
        raise StudyError(
            f"FreezeThaw() goes by one objective, and this study has {_objectives(values)}",
            next="name one objective, or leave out search=",
        )
    for name, part in (("folds", "a fold"), ("seeds", "a seed")):
        if values[name] is not None:
            raise StudyError(
                f"FreezeThaw() goes by what each epoch reports, and with {name}= a trial reports only when {part} has"
                " ended",
                next=f"leave out {name}= or search=",
            )


def _objectives(values: Mapping[str, Any]) -> int:
    objective = values["objective"]
    return len(objective) if isinstance(objective, tuple | list) else 1


def _check_seeds(values: Mapping[str, Any]) -> None:
    seeds = values["seeds"]
    if seeds is None:
        return
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 2 <= seeds <= 100:
        raise StudyError(
            f"seeds={seeds!r} must be a whole number from 2 to 100", next="seeds=3, or leave it out for one"
        )
    if values["folds"] is not None:
        raise StudyError(
            f"seeds={seeds} and folds={values['folds']} are both means over trainings of one configuration: each fold"
            " has a seed of its own already",
            next="leave out one of them",
        )


def _check_stop(values: Mapping[str, Any]) -> None:
    stop = values["stop"]
    if stop is None:
        return
    if not isinstance(stop, Converged):
        raise StudyError(f"stop is {stop!r}, not a rule", next="stop=Converged(), from hpo import Converged")
    objective = values["objective"]
    several = len(objective.metrics) if isinstance(objective, Objective) else _objectives(values)
    if several > 1:
        raise StudyError(
            f"Converged() goes by one objective, and this study has {several}",
            next="name one objective, or end it with --trials or --timeout",
        )
    if isinstance(values["sampler"], Grid | BruteForce):
        raise StudyError(
            f"{values['sampler']} ends after the last combination, and Converged() would end it before",
            next="leave out one of them",
        )


def _check_warm_start(values: Mapping[str, Any]) -> None:
    given = values["warm_start"]
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, tuple | list) or not all(is_file_name(name) for name in names):
        raise StudyError(
            f"warm_start={given!r} does not name a study, or several", next='warm_start="mlp_digits", in this database'
        )
    if values["name"] in names:
        raise StudyError(f'"{values["name"]}" cannot start from its own trials', next="name an earlier study")
    if names and isinstance(values["sampler"], Grid):
        raise StudyError(
            "Grid() tries every combination, so no earlier study can say where to begin", next="leave out one"
        )


def _check_objective(values: Mapping[str, Any]) -> None:
    """A function that suggests as it goes: hpo knows a configuration only while it is trained already."""
    if values["repeat"]:
        raise StudyError(
            "an objective suggests as it goes, so hpo knows that it repeats a configuration only while it trains it:"
            " repeat=True has no meaning",
            next="leave it out; optuna.TrialPruned, raised by the objective, ends such a trial",
        )
    if values["stop"] is not None and values["stop"].noise is None:
        raise StudyError(
            "Converged() has to know how far seeds differ, and hpo cannot repeat what an objective suggests as it goes",
            next="Converged(noise=0.002): the standard deviation of its value between seeds",
        )
