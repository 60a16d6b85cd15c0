"""Seconds of training until a validation accuracy is reached: 99 % on MNIST, 94 % on CIFAR-10."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.gpu_check import some_cifar10
from benchmarks.gpu_check.jobs import ON_GPU, Bench, make_job, work_folder
from benchmarks.gpu_check.rows import tell
from hpo.messages import Epoch
from hpo.study.discovery import find_study
from hpo.training.progress import StopRequest


@dataclass(frozen=True)
class Goal:
    """accuracy: of the validation images. rehearsed: what two epochs of 3,000 images on a CPU are to reach."""

    name: str
    model: str
    dataset: str
    accuracy: float
    rehearsed: float
    epochs: int
    config: dict[str, Any]


MNIST = Goal(
    "MNIST", "lenet", "mnist", 0.99, 0.8, 10,
    {"batch_size": 256, "lr": 4e-3, "optimizer": "adam", "schedule": "one_cycle", "ema_decay": 0.99,
     "label_smoothing": 0.05},
)  # fmt: skip


def main() -> None:
    bench = Bench(work_folder())
    if not ON_GPU:
        print("a rehearsal: two epochs of 3,000 images", flush=True)
    for attempt in ("first, with the kernels' loading", "again in the same process"):
        _tell(MNIST, attempt, _seconds_until(bench, MNIST))
    cifar10 = cifar10_fast()
    if some_cifar10.described():
        _tell(cifar10, "first", "not run: of CIFAR-10 only a part is here")
    else:
        _tell(cifar10, "first", _seconds_until(bench, cifar10))


def cifar10_fast() -> Goal:
    """The baseline of the study; in a rehearsal a narrow network, which a CPU trains in seconds."""
    study = find_study("cifar10_fast").study
    config = dict(study.baseline_config) if ON_GPU else {**study.baseline_config, "width": 4, "precision": "float32"}
    return Goal("CIFAR-10", "resnet9", "cifar10", 0.94, 0.12, study.epochs, config)


def _tell(goal: Goal, attempt: str, figure: str) -> None:
    tell(f"{goal.name} at {100 * _wanted(goal):.0f} %, {goal.model}, {attempt}", None, figure)


def _wanted(goal: Goal) -> float:
    return goal.accuracy if ON_GPU else goal.rehearsed


def _seconds_until(bench: Bench, goal: Goal) -> str:
    protocol = {"epochs": goal.epochs} if ON_GPU else {"epochs": 2, "subset": 3000}
    stop, begun, reached, seen = StopRequest(), perf_counter(), [], [0.0]

    def epoch(message: Epoch) -> None:
        seen.append(message.metrics["val_accuracy"])
        if message.metrics["val_accuracy"] >= _wanted(goal) and not reached:
            reached.append((perf_counter() - begun, message.epoch, message.metrics["val_accuracy"]))
            stop.asked = True

    job = make_job(goal.model, dataset=goal.dataset, protocol=protocol, **goal.config)
    outcome, losses, reason = bench.train(job, stop, epoch)
    if not reached:
        return f"not reached: {100 * max(seen):.2f} % at best, {outcome} after {len(losses)} epochs {reason}"
    seconds, number, value = reached[0]
    return f"{seconds:.2f} s, epoch {number}, {100 * value:.2f} % of the validation images (loading included)"


if __name__ == "__main__":
    main()
    sys.stdout.flush()
