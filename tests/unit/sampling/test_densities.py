"""TPE's densities over many kernels: the numbers of Optuna's own estimator."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.sampling.densities import log_density
from hpo.storage.optuna_internals import TPEInternals

SPACE: dict[str, BaseDistribution] = {
    "width": IntDistribution(8, 1024, log=True),
    "layers": IntDistribution(1, 4),
    "units": IntDistribution(200, 1000, step=8),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "dropout": FloatDistribution(0.0, 0.5, step=0.1),
}


def draws(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    return {
        "width": np.exp(rng.uniform(np.log(8), np.log(1024), count)).round(),
        "layers": rng.integers(1, 5, count).astype(float),
        "units": 200.0 + 8 * rng.integers(0, 101, count),
        "kind": rng.integers(0, 3, count).astype(float),
        "lr": np.exp(rng.uniform(np.log(1e-5), np.log(1e-1), count)),
        "momentum": rng.uniform(0, 0.99, count),
        "dropout": 0.1 * rng.integers(0, 6, count),
    }


@pytest.mark.parametrize("names", [[name] for name in SPACE] + [list(SPACE)], ids=str)
@pytest.mark.parametrize("observed", [0, 1, 2, 500])
def test_densities_are_those_of_optunas_estimator(names: list[str], observed: int) -> None:
    rng = np.random.default_rng(7)
    observations, points = draws(rng, observed), draws(rng, 50)
    space = {name: SPACE[name] for name in names}
    tpe = TPEInternals(startup_trials=1, seed=0)
    estimator = tpe.estimator({name: observations[name] for name in names}, space)
    samples = {name: points[name] for name in names}
    quick = log_density(*tpe.kernels(estimator, samples))
    np.testing.assert_allclose(quick, estimator.log_pdf(samples), rtol=0, atol=1e-9)
