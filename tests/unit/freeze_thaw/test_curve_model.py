"""The Gaussian process over configurations and epochs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from hpo.freeze_thaw.curve_model import CurveModel, Observed

EPOCHS = 50


def observed(points: list[float], epochs: list[float], trials: list[int]) -> Observed:
    return Observed(np.array(points)[:, None], np.array(epochs, dtype=np.float64), np.array(trials))


def rising(draw: np.random.Generator, trials: int, length: int) -> tuple[Observed, np.ndarray]:
    """Curves that rise to an end that the configuration decides; [0, 1] in all."""
    points, epochs, numbers, values = [], [], [], []
    for trial in range(trials):
        point = draw.random()
        for epoch in (1, 2, 4, 8, 16, 32, 50):
            if epoch <= length or trial % 2:
                points.append(point)
                epochs.append(float(epoch))
                numbers.append(trial)
                values.append(np.sin(3.0 * point) * (1.0 - np.exp(-epoch / 8.0)))
    return observed(points, epochs, numbers), np.array(values)


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def test_the_gradient_is_that_of_the_likelihood() -> None:
    draw = np.random.default_rng(0)
    seen = Observed(draw.random((12, 3)), draw.integers(1, 50, 12).astype(float), draw.integers(0, 5, 12))
    values = draw.standard_normal(12)
    model = CurveModel(3, EPOCHS)
    logs = model._logs + 0.3 * draw.standard_normal(len(model._logs))
    gradient = model._unlikely(logs, seen, values)[1]
    numeric = approx_fprime(logs, lambda at: model._unlikely(at, seen, values)[0], 1e-6)
    assert gradient == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_it_predicts_the_end_of_a_curve_that_has_begun_better_than_of_one_that_has_not() -> None:
    seen, values = rising(np.random.default_rng(1), 20, 8)
    model = CurveModel(1, EPOCHS)
    model.learn(seen, standard(values), len(values), np.random.default_rng(0))
    begun = list(range(0, 20, 2))
    points = [float(seen.points[seen.trials == trial][0, 0]) for trial in begun]
    ends = (np.sin(3.0 * np.array(points)) * (1.0 - np.exp(-50 / 8.0)) - values.mean()) / values.std()
    means, spreads = model.predict(observed(points, [50.0] * 10, begun))
    assert np.abs(means - ends).max() < 0.5
    new_spreads = model.predict(observed(points, [50.0] * 10, list(range(100, 110))))[1]
    assert (spreads <= new_spreads + 1e-6).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_values_are_enough_to_predict(count: int) -> None:
    model = CurveModel(1, EPOCHS)
    model.learn(
        observed([0.5] * count, [1.0] * count, list(range(count))), np.zeros(count), count, np.random.default_rng(0)
    )
    means, spreads = model.predict(observed([0.1, 0.5], [50.0, 1.0], [9, 0]))
    assert np.isfinite(means).all()
    assert spreads[1] < spreads[0]


def test_the_same_place_many_times_is_no_obstacle() -> None:
    model = CurveModel(1, EPOCHS)
    model.learn(observed([0.5] * 40, [3.0] * 40, [0] * 40), np.zeros(40), 3, np.random.default_rng(0))
    assert np.isfinite(model.predict(observed([0.5], [4.0], [0]))[0]).all()


def test_a_study_of_one_epoch_has_curves_too() -> None:
    model = CurveModel(1, 1)
    draw = np.random.default_rng(0)
    points = draw.random(30).tolist()
    model.learn(observed(points, [1.0] * 30, list(range(30))), standard(np.array(points)), 30, draw)
    low, high = model.predict(observed([0.1, 0.9], [1.0, 1.0], [50, 51]))[0]
    assert low < high
