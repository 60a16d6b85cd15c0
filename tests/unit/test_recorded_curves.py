"""Curves of real training as benchmarks.record_curves keeps them, and as a way of searching meets them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.methods.recorded import Recorded, write_curves
from hpo.errors import StudyError
from hpo.sampling.distributions import distribution
from hpo.studies.mlp_digits import study

EPOCHS = study.epochs
FLAT = {"batch_size": 64, "layers": 1, "hidden_units_0": 64, "optimizer": "adam", "lr": 1e-3}


def trial(number: int, end: float, epochs: int = EPOCHS, kind: str = "", **params: Any) -> FrozenTrial:
    given = FLAT | params
    rows = {name: study.rows.rows.get(name) or study.rows.rows[name.rpartition("_")[0]] for name in given}
    made = create_trial(
        state=TrialState.PRUNED,
        params=given,
        distributions={name: distribution(row) for name, row in rows.items()},
        intermediate_values={epoch: end * epoch / EPOCHS for epoch in range(1, epochs + 1)},
        user_attrs={"failure": {"kind": kind}} if kind else {},
    )
    made.number = number
    return made


def kept(folder: Path, *trials: FrozenTrial) -> Path:
    epochs = [
        {"trial": one.number, "epoch": epoch, "seconds": 0.5 + one.number}
        for one in trials
        for epoch in one.intermediate_values
    ]
    path = folder / "mlp_digits.npz"
    assert write_curves(path, "mlp_digits", study, trials, epochs) == len([one for one in trials if one.number < 10])
    return path


def test_a_configuration_has_the_curve_of_the_nearest_of_its_kind(tmp_path: Path) -> None:
    sgd = {"optimizer": "sgd", "momentum": 0.9}
    unfinished = trial(10, 0.5, epochs=4, lr=0.1)
    problem = Recorded(kept(tmp_path, trial(0, 0.9), trial(1, 0.8, lr=1e-5), trial(2, 0.7, lr=2e-3, **sgd), unfinished))
    assert (len(problem), problem.epochs, problem.name) == (3, EPOCHS, "mlp_digits")
    assert problem.reference.best == pytest.approx(0.9)
    assert problem.reference.typical == pytest.approx(0.8)
    assert problem.reference.seconds == pytest.approx(EPOCHS * 1.5)
    config = problem.space.configuration(FLAT)
    for change, end in (({}, 0.9), ({"lr": 2e-3}, 0.9), ({"lr": 2e-5}, 0.8), ({"lr": 1e-5, **sgd}, 0.7)):
        curve = problem.curve({**config, **change}, seed=1)
        assert (curve.values[-1], len(curve.values), curve.failure) == (pytest.approx(end), EPOCHS, "")
    assert problem.curve(config, 1).seconds == (0.5,) * EPOCHS


def test_one_that_failed_ends_where_it_did(tmp_path: Path) -> None:
    problem = Recorded(kept(tmp_path, trial(0, 0.9), trial(1, 0.4, epochs=3, kind="diverged", lr=0.1)))
    curve = problem.curve(problem.space.configuration(FLAT | {"lr": 0.09}), seed=1)
    assert (len(curve.values), curve.failure) == (3, "diverged")
    assert problem.reference.best == pytest.approx(0.9)


def test_lower_is_better_where_the_study_says_so(tmp_path: Path) -> None:
    path = tmp_path / "loss.npz"
    write_curves(path, "mlp_digits", replace(study, objective="val_loss"), [trial(0, 0.9)], [])
    curve = Recorded(path).curve(study.rows.configuration(FLAT), seed=1)
    assert curve.values[-1] == pytest.approx(-0.9)
    assert all(map(math.isnan, curve.seconds))


def test_curves_of_another_table_are_refused(tmp_path: Path) -> None:
    path = kept(tmp_path, trial(0, 0.9))
    with np.load(path) as found:
        parts = dict(found)
    parts["about"] = np.array(json.dumps(json.loads(str(parts["about"])) | {"rows": {"lr": "0.1 .. 0.2"}}))
    np.savez(path, **parts)
    with pytest.raises(StudyError, match="has curves of other rows than mlp_digits has now"):
        Recorded(path)
