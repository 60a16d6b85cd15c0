"""How many trainers share a GPU under `--trainers-per-gpu auto`: the number is doubled while that measures faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from hpo.messages import Epoch, Finished, Job, Message, Ready
from hpo.study.discovery import FoundStudy
from hpo.trainers.jobs import make_job
from hpo.trainers.process import TRAINER, TrainerProcess
from hpo.trainers.slot import SlotSpec
from hpo.trainers.trial import Trial

__all__ = ["autotune_trainers_per_gpu", "choose_trainers_per_gpu", "measure"]

Probe = Callable[[int], float | None]
"""From a number of trainers on one GPU to their epochs per second together; None where its memory cannot hold them."""

MOST = 16
GROWTH = 1.1
"""Twice as many trainers must be faster by this factor to be worth their memory."""

PATIENCE_SECONDS = 120.0


def autotune_trainers_per_gpu(probe: Probe) -> int:
    """1, 2, 4, 8 or 16: doubled while throughput grows by a tenth and memory holds."""
    best, throughput = 1, probe(1)
    while throughput is not None and best < MOST:
        doubled = probe(2 * best)
        if doubled is None or doubled < GROWTH * throughput:
            break
        best, throughput = 2 * best, doubled
    return best


def choose_trainers_per_gpu(found: FoundStudy, device: str, command: Sequence[str] = TRAINER) -> int:
    """How many trainers to run on `device`, measured on the study's baseline."""
    study = found.study
    job = make_job(found, Trial(0, 0, 1, {}, study.baseline_config, ""))
    job = replace(job, protocol=replace(job.protocol, epochs=2, early_stopping=None, folds=None, seeds=None))
    return autotune_trainers_per_gpu(lambda count: measure(job, device, count, command))


def measure(job: Job, device: str, count: int, command: Sequence[str] = TRAINER) -> float | None:
    """Epochs per second of `count` trainers at once; the first epoch, in which a device warms up, is not counted.

    Each may use only its share of the memory. None when one of them cannot complete `job` with that.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    spec = SlotSpec(device, ("--memory-fraction", f"{1.0 / count:.4f}"))
    with ExitStack() as stack:
        trainers = [
            TrainerProcess(spec.device, command=command, arguments=spec.arguments, environ=os.environ)
            for _ in range(count)
        ]
        for trainer in trainers:
            stack.callback(trainer.kill)
        if not all(isinstance(_next(trainer, deadline), Ready) for trainer in trainers):
            return None
        for trainer in trainers:
            trainer.send(job)
        rates = [_epochs_per_second(trainer, deadline) for trainer in trainers]
    return sum(rate for rate in rates if rate is not None) if None not in rates else None


def _epochs_per_second(trainer: TrainerProcess, deadline: float) -> float | None:
    seconds = 0.0
    while (message := _next(trainer, deadline)) is not None:
        if isinstance(message, Epoch):
            seconds = message.seconds
        elif isinstance(message, Finished):
            return 1.0 / seconds if message.outcome == "complete" and seconds > 0 else None
    return None


def _next(trainer: TrainerProcess, deadline: float) -> Message | None:
    """The next message; None when the trainer is gone or the time is up."""
    try:
        return trainer.receive() if trainer.connection.poll(max(0.0, deadline - time.monotonic())) else None
    except OSError:
        return None
