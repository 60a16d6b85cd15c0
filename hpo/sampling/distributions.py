"""Rows of a space as Optuna distributions and suggestions."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from hpo.study.parameters import Categorical, Float, Int, Parameter

__all__ = ["distribution", "suggest", "suggest_from"]


def distribution(row: Parameter) -> BaseDistribution:
    """The Optuna distribution of one row."""
    if isinstance(row, Int):
        return IntDistribution(row.low, _highest(row), log=row.log, step=row.step)
    if isinstance(row, Float):
        return FloatDistribution(row.low, _highest(row), log=row.log, step=row.step)
    assert isinstance(row, Categorical)
    return CategoricalDistribution(row.choices)


def suggest(trial: BaseTrial, name: str, row: Parameter) -> Any:
    """Ask `trial` for a value of `row` under `name`."""
    if isinstance(row, Int):
        return trial.suggest_int(name, row.low, _highest(row), log=row.log, step=row.step)
    if isinstance(row, Float):
        return trial.suggest_float(name, row.low, _highest(row), log=row.log, step=row.step)
    assert isinstance(row, Categorical)
    return trial.suggest_categorical(name, row.choices)


def suggest_from(trial: BaseTrial, name: str, wanted: BaseDistribution) -> Any:
    """Ask `trial` for a value of an Optuna distribution under `name`."""
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(name, wanted.low, wanted.high, log=wanted.log, step=wanted.step)
    if isinstance(wanted, FloatDistribution):
        return trial.suggest_float(name, wanted.low, wanted.high, log=wanted.log, step=wanted.step)
    assert isinstance(wanted, CategoricalDistribution)
    return trial.suggest_categorical(name, wanted.choices)


def _highest(row: Int | Float) -> Any:
    """The highest value that steps from the lowest reach: without this Optuna would warn at every trial."""
    return row.ends()[1]
