"""An Optuna hyperparameter-search service for PyTorch.

    import hpo
    result = hpo.run("mlp_digits", timeout="1m")
    result.best            # the winning trial
    result.trials          # every trial, as a pandas DataFrame

Importing this package loads neither torch nor optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

# In a checkout, hpo.models, hpo.data and hpo.studies are the folders beside this one; a wheel has them inside it.
if not (Path(__file__).parent / "models").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

from hpo.errors import HpoError
from hpo.study.beliefs import Prior
from hpo.study.command import Command
from hpo.study.objective import Objective
from hpo.study.own_task import Task
from hpo.study.parts import Loss, Metric, Optimizer, Schedule
from hpo.study.protocol import AtMost, EarlyStopping, StopWhen
from hpo.study.pruners import (
    Hyperband,
    MedianPruner,
    NoPruner,
    Patient,
    PercentilePruner,
    SuccessiveHalving,
    Threshold,
    Wilcoxon,
)
from hpo.study.samplers import GP, NSGAII, NSGAIII, QMC, TPE, BruteForce, CmaEs, Fixed, Grid, Random
from hpo.study.search import Converged, FreezeThaw
from hpo.study.space import Categorical, Float, Int
from hpo.study.study import Study

if TYPE_CHECKING:
    from hpo.api import run
    from hpo.own_training.run import Run
    from hpo.result import Result

__version__ = "0.1.0"

__all__ = [
    "GP",
    "NSGAII",
    "NSGAIII",
    "QMC",
    "TPE",
    "AtMost",
    "BruteForce",
    "Categorical",
    "CmaEs",
    "Command",
    "Converged",
    "EarlyStopping",
    "Fixed",
    "Float",
    "FreezeThaw",
    "Grid",
    "HpoError",
    "Hyperband",
    "Int",
    "Loss",
    "MedianPruner",
    "Metric",
    "NoPruner",
    "Objective",
    "Optimizer",
    "Patient",
    "PercentilePruner",
    "Prior",
    "Random",
    "Result",
    "Run",
    "Schedule",
    "StopWhen",
    "Study",
    "SuccessiveHalving",
    "Task",
    "Threshold",
    "Wilcoxon",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "run":
        from hpo.api import run

        return run
    if name == "Result":
        from hpo.result import Result

        return Result
    if name == "Run":
        from hpo.own_training.run import Run

        return Run
    raise AttributeError(f"module 'hpo' has no attribute {name!r}")
