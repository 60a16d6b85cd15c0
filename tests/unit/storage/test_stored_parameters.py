"""What a number in Optuna's tables means as a parameter."""

from __future__ import annotations

import math

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.storage.optuna_schema import parameter_value


@pytest.mark.parametrize(
    ("distribution", "stored", "value"),
    [
        (FloatDistribution(1e-4, 1e-1, log=True), 1e-4, 1e-4),
        (FloatDistribution(0.0, 1.0), 1.0, 1.0),
        (IntDistribution(1, 8), 8.0, 8),
        (CategoricalDistribution(["adam", "sgd"]), 1.0, "sgd"),
    ],
)
def test_a_number_in_its_distribution_is_the_value_that_optuna_reads(
    distribution: BaseDistribution, stored: float, value: object
) -> None:
    read = parameter_value(distribution, stored)
    assert read == value == distribution.to_external_repr(stored)
    assert type(read) is type(value)


@pytest.mark.parametrize("stored", [None, math.nan, math.inf, -math.inf, -1.0, 1e308])
@pytest.mark.parametrize(
    "distribution",
    [FloatDistribution(1e-4, 1e-1, log=True), IntDistribution(1, 8), CategoricalDistribution(["adam", "sgd"])],
    ids=["float", "int", "categorical"],
)
def test_a_number_outside_its_distribution_is_no_value(distribution: BaseDistribution, stored: float | None) -> None:
    """Whoever may write to the table can store any: the logarithm of one ended a report."""
    with pytest.raises(ValueError, match="is outside"):
        parameter_value(distribution, stored)
