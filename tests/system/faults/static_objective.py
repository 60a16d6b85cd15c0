"""An objective that asks for the same in every trial, so that values come with its later trials; two of these die."""

from __future__ import annotations

import json
import os
import signal
import time

import optuna

DIES, WAITS = 12, 14
"""Numbers of the trial that kills its trainer, and of the one that waits to be killed, each in its first attempt."""


def objective(trial: optuna.Trial) -> float:
    if trial.number >= 10:
        time.sleep(0.3)  # the next trial is there before this one has ended
    x = trial.suggest_float("x", 0.0, 1.0)
    trial.report(x, 0)
    mark = trial.checkpoint_dir / "mark"
    if trial.number in (DIES, WAITS) and not mark.exists():
        mark.write_text(json.dumps([x, sorted(trial._ahead)]))
        time.sleep(1.5)  # now the database has it
        if trial.number == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(120)
    if mark.exists():
        trial.set_user_attr("first", json.loads(mark.read_text()))
    trial.set_user_attr("came", sorted(trial._ahead))
    y = trial.suggest_int("y", 1, 9)
    trial.set_user_attr("asked", {"x": x, "y": y})
    return x * y
