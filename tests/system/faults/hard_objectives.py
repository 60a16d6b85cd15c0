"""Objectives that hang, take long to import, or keep something that cannot be read back."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch

from hpo import Float, Run, Study

time.sleep(float(os.environ.get("TEST_IMPORT_SECONDS", "0")))


def deadlock(trial: Any) -> float:
    trial.suggest_float("x", 0, 1)
    return for_ever()


def for_ever() -> float:
    lock = threading.Lock()
    lock.acquire()
    return float(lock.acquire())


def hangs(run: Run) -> None:
    for _ in run.epochs():
        for_ever()


study = Study(
    name="hard_objectives_study", train=hangs, objective="loss", direction="minimize", epochs=2,
    space={"x": Float(0.0, 1.0)}, baseline={"x": 0.5},
)  # fmt: skip


def simple(trial: Any) -> float:
    return float(trial.suggest_float("x", 0, 1))


def keeps(trial: Any) -> float:
    """Reads back what an earlier attempt of it kept."""
    kept = trial.checkpoint_dir / "state.pt"
    if kept.exists():
        return float(torch.load(kept)["score"])
    torch.save({"score": trial.number}, kept)
    if trial.number == 0 and "in_the_way" not in os.environ["HPO_CHECKPOINT_DIR"]:
        Path(kept).write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    return float(torch.load(kept)["score"])
