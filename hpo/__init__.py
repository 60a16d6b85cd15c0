"""An Optuna hyperparameter-search service for PyTorch.

    import hpo
    result = hpo.run("mlp_digits", timeout="1m")
    result.best            # the winning trial
    result.trials          # every trial, as a pandas DataFrame

Importing this package loads neither torch nor optuna.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpo.packages import check_packages

check_packages()  # before the first import of one of them

from hpo.errors import HpoError
from hpo.protocol import AtMost, EarlyStopping, StopWhen
from hpo.pruners import Hyperband, MedianPruner, NoPruner, PercentilePruner, SuccessiveHalving
from hpo.samplers import GP, QMC, TPE, CmaEs, Grid, Random
from hpo.space import Categorical, Float, Int
from hpo.study import Study

if TYPE_CHECKING:
    from hpo.api import Result, run

__version__ = "0.1.0"

__all__ = [
    "GP",
    "QMC",
    "TPE",
    "AtMost",
    "Categorical",
    "CmaEs",
    "EarlyStopping",
    "Float",
    "Grid",
    "HpoError",
    "Hyperband",
    "Int",
    "MedianPruner",
    "NoPruner",
    "PercentilePruner",
    "Random",
    "Result",
    "StopWhen",
    "Study",
    "SuccessiveHalving",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in ("run", "Result"):
        import hpo.api

        return getattr(hpo.api, name)
    raise AttributeError(f"module 'hpo' has no attribute {name!r}")
