"""What plain Optuna scripts leave in a database, as functions that fill a study."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

Fill = Callable[[optuna.Study], None]


def searched(study: optuna.Study, trials: int = 30) -> None:
    """An ordinary search: log and conditional and per-layer parameters, pruned and failed trials, epochs."""
    study.sampler = optuna.samplers.RandomSampler(seed=0)

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        for layer in range(trial.suggest_int("layers", 1, 3)):
            trial.suggest_int(f"width_{layer}", 8, 512, log=True)
        if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
            trial.suggest_float("momentum", 0.0, 0.99)
        trial.set_user_attr("parameters", 1000 + 10 * trial.number)
        if trial.number % 10 == 7:
            trial.set_user_attr(
                "failure", {"kind": "failed", "reason": "shape mismatch", "traceback": ["in forward", "ValueError: 3"]}
            )
            raise ValueError("3")
        for epoch in range(1, 6):
            trial.report(lr**0.1 * epoch / 5, epoch)
            if trial.number % 3 == 1 and epoch == 2:
                raise optuna.TrialPruned
        return float(lr**0.1)

    study.optimize(objective, n_trials=trials, catch=(ValueError,))


def told(state: str, value: float | None = None, steps: int = 0, **params: float) -> FrozenTrial:
    """A finished trial with float parameters from 0 to 1 and `steps` reports."""
    return create_trial(
        state=TrialState[state],
        value=value,
        params=params,
        distributions={name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in params},
        intermediate_values={step: 0.1 * step for step in range(1, steps + 1)},
    )
