"""The messages between a coordinator and a trainer while training is the user's own (see hpo.messages)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "FORKED",
    "NO_QUESTION",
    "Answer",
    "Attribute",
    "OwnCommand",
    "OwnTraining",
    "Question",
    "Report",
    "final_names",
    "without_folders",
]


NO_QUESTION = -1
"""The number of an answer that only wakes who waits for one."""

FORKED = "a trial belongs to the process that it was given to, and this is a fork of it"
"""What a forked process is told that uses its parent's trial."""


@dataclass(frozen=True)
class OwnTraining:
    """The function that a trainer calls with each trial, in place of training a model of the study.

    function: "module:name", or "/folder/file.py:name"; final: likewise, for the phase "final", or ""
    define_by_run: whether it is an Optuna objective, which asks for its parameters; else it is given a hpo.Run
    study, directions, metrics: as `trial.study` shows them; one direction and metric for each value it returns
    ahead: of an objective, by name of a parameter: [distribution, value] of an answer to a question not yet asked; the
           trainer sends an Attribute "param" when the objective asks for it
    """

    function: str
    study: str
    directions: tuple[str, ...]
    metrics: tuple[str, ...]
    define_by_run: bool = True
    final: str = ""
    ahead: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> OwnTraining:
        """Read what `asdict` and JSON made, which has lists in place of tuples."""
        return cls(**{**fields, "directions": tuple(fields["directions"]), "metrics": tuple(fields["metrics"])})


def final_names(objective: str) -> tuple[str, ...]:
    """What `final(run)` may call the objective, as measured on test data: test_f1, or val_f1 as in the search."""
    return f"test_{objective.removeprefix('val_')}", objective


def without_folders(parts: Any) -> Any:
    """Parts by the names that every host has: without the folder of a file."""
    if not isinstance(parts, dict):
        return parts
    return {
        name: str(one).rpartition("/")[2] if name == "function" else without_folders(one) for name, one in parts.items()
    }


@dataclass(frozen=True)
class OwnCommand:
    """The program that a trainer is to run for a trial, in place of training a model of the study's.

    argv:      what is executed; shown: the same as a line for a terminal
    folder:    where it runs
    objectives: metrics by name; the pruner goes by the first. maximize: whether more of that is better
    patterns:  regular expressions for the lines that it prints
    keep_best: whether the best value of the objective is the trial's, and not the last
    output:    the file that is to hold what it prints; "" for none
    history:   the file that keeps what it reported for another attempt; the coordinator removes it with the checkpoints
    """

    argv: tuple[str, ...]
    shown: str
    folder: str
    objectives: tuple[str, ...]
    maximize: bool = False
    patterns: tuple[str, ...] = ()
    keep_best: bool = False
    output: str = ""
    history: str = ""

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> OwnCommand:
        """What `asdict` made, after JSON."""
        tuples = {name: tuple(fields[name]) for name in ("argv", "objectives", "patterns")}
        return cls(**{**fields, **tuples})


@dataclass(frozen=True)
class Question:
    """Trainer to coordinator, which sends an Answer of the same `number`.

    about: "suggest"       arguments: name, distribution (Optuna's JSON text); the answer is the value, or the index of
                           a categorical one
           "should_prune"  the answer is True or False
           "go_on"         the answer is True, and comes after a Stop that what was told before it led to
           "trials"        the answer is a list: each trial as hpo.own_training.optuna_objects reads it
           "user_attrs"    the answer is a mapping: the study's
    """

    trial_id: int
    number: int
    about: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Coordinator to trainer. error: [name of a Python exception, its message], in place of a value; or None."""

    trial_id: int
    number: int
    value: Any = None
    error: list[str] | None = None


@dataclass(frozen=True)
class Report:
    """Trainer to coordinator: what the user's function reported for a step, all of it so far.

    metrics: by name; the study's first objective, where it is among them, is what the pruner goes by
    seconds: since the last report, or since the function was called
    """

    trial_id: int
    step: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Attribute:
    """Trainer to coordinator: something that the user's function set.

    kind: "user" (of the trial), "constraint", "system" (of the trial: artifacts), "study" (user attribute of the study)
          "param" (it has taken the value that the job brought along; no value)
          or "stop" (end the search after the trials under way; no name, no value)
    """

    trial_id: int
    kind: str
    name: str = ""
    value: Any = None
