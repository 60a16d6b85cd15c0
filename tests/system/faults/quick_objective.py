"""An objective that ends at once, in every way that one ends, with parameters of every kind."""

from __future__ import annotations

import optuna


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 1e-3, 1.0, log=True)
    for index in range(trial.suggest_int("layers", 1, 3)):
        trial.suggest_int(f"units_{index}", 8, 64)
    kind = trial.suggest_categorical("kind", ["a", None, 3, True])
    if trial.number == 2:
        raise ZeroDivisionError("by the user")
    for step in range(3):
        trial.report(x * step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("kind", kind)
    return x
