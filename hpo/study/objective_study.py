"""The study of an objective that is named on the command line or given to hpo.run, with no declaration around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.errors import UsageError, near_miss
from hpo.study.objective import Objective
from hpo.study.own_search import pruner_of, sampler_of
from hpo.study.pruners import Hyperband, MedianPruner, NoPruner, Patient, Pruner, SuccessiveHalving, Wilcoxon
from hpo.study.samplers import GP, NSGAII, NSGAIII, QMC, TPE, BruteForce, CmaEs, Random, Sampler
from hpo.study.script import Script
from hpo.study.study import Study

__all__ = ["PRUNERS", "SAMPLERS", "ObjectiveOptions", "objective_study", "study_of"]

SAMPLERS: dict[str, type[Sampler]] = {
    "tpe": TPE, "random": Random, "gp": GP, "cmaes": CmaEs, "qmc": QMC, "nsga2": NSGAII, "nsga3": NSGAIII,
    "bruteforce": BruteForce,
}  # fmt: skip
"""What --sampler may name."""
PRUNERS: dict[str, type[Pruner]] = {
    "median": MedianPruner, "hyperband": Hyperband, "halving": SuccessiveHalving, "patient": Patient,
    "wilcoxon": Wilcoxon, "none": NoPruner,
}  # fmt: skip
"""What --pruner may name."""


@dataclass(frozen=True)
class ObjectiveOptions:
    """How an objective is searched, as the command line or a caller of hpo.run says. None: not said.

    directions: one for each value that it returns; () is not said
    """

    directions: tuple[str, ...] = ()
    metrics: tuple[str, ...] | None = None
    sampler: str | Sampler | None = None
    pruner: str | Pruner | None = None

    @property
    def given(self) -> list[str]:
        """The options that were said, by name."""
        return [words.partition(" ")[0] for words in self.words]

    @property
    def words(self) -> list[str]:
        """Them as the command line writes them."""
        several = len(self.directions) > 1
        said = {
            "--directions" if several else "--direction": ",".join(self.directions),
            "--metric": ",".join(self.metrics or ()),
            "--sampler": self.sampler if isinstance(self.sampler, str) else "",
            "--pruner": self.pruner if isinstance(self.pruner, str) else "",
        }
        return [f"{option} {value}" for option, value in said.items() if value]


def objective_study(reference: str, script: Script, options: ObjectiveOptions) -> Study:
    """The study of the objective "place:name", a function of `script`, which is not imported here.

    Raises StudyError for a script that would search by itself when it is imported, UsageError for a missing direction.
    """
    script.check()
    if not options.directions:
        name = f"{script.path.name}:{reference.rpartition(':')[2]}"
        raise UsageError(f"which way is {name} better: does it return a loss or a score?", next=script.proposal())
    return study_of(Objective(reference, options.metrics, options.directions), options)


def study_of(objective: Objective, options: ObjectiveOptions) -> Study:
    chosen: dict[str, Any] = {
        "sampler": sampler_of(_chosen("--sampler", options.sampler, SAMPLERS)),
        "pruner": pruner_of(_chosen("--pruner", options.pruner, PRUNERS)),
    }
    return Study(
        name=_study_name(objective),
        objective=objective,
        **{name: value for name, value in chosen.items() if value is not None},
    )


def _study_name(objective: Objective) -> str:
    """ "train" for train.py:objective, "train_loss" for train.py:loss."""
    place, name = Path(objective.place).name.removesuffix(".py"), objective.reference.rpartition(":")[2]
    words = place if name == "objective" else f"{place}_{name}"
    return re.sub(r"[^A-Za-z0-9_.-]", "_", words)[:100]


def _chosen(option: str, said: Any, known: dict[str, Any]) -> Any:
    if not isinstance(said, str) or ":" in said:
        return said
    if said.lower() not in known:
        raise UsageError(
            f'{option} "{said}"',
            evidence=[near_miss(said.lower(), known)],
            next=f"{option} my_file.py:function names one of your own, which returns one of Optuna's",
        )
    return known[said.lower()]()
