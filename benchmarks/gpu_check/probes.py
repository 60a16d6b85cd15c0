"""Is it right? One probe for each process: `python -m benchmarks.gpu_check.probes NAME`."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.gpu_check import odd_models
from benchmarks.gpu_check.jobs import ON_GPU, Bench, Trainer, make_job, work_folder
from benchmarks.gpu_check.rows import tell
from hpo.training.device import release_memory
from hpo.training.progress import StopRequest

ODD = "benchmarks.gpu_check.odd_models"


def reads_a_value(folder: Path) -> None:
    """A model that asks to be recorded and cannot be: eager, in a fresh process, and the next trial as ever."""
    trainer = Trainer()
    ends = [
        trainer.train(make_job(builder=f"{ODD}:reads_a_value", graphs=True)),
        trainer.train(make_job(layers=1, hidden_units=[32])),
    ]
    outcomes = [end.outcome if end else "no answer" for end in ends]
    tell("a model that reads a value trains eagerly", outcomes == ["complete"] * 2, ", ".join(outcomes))
    trainer.end()


def host_choice(folder: Path) -> None:
    """Without cuda_graphs=True no choice of the host's is frozen."""
    bench = Bench(folder)
    random.seed(0)
    outcome, _, reason = bench.train(make_job(builder=f"{ODD}:host_choice", batch_size=16))
    share = float(odd_models.LAST[0].taken / odd_models.LAST[0].steps)
    tell(
        "a choice of the host's is not frozen",
        0.35 < share < 0.65,
        f"{outcome}; a branch with p 0.5: {share:.2f} {reason}",
    )


def assertion(folder: Path) -> None:
    """An index out of range: the trial fails with its error, and the trainer goes on as a fresh process."""
    trainer = Trainer()
    failed = trainer.train(make_job(builder=f"{ODD}:out_of_range"))
    following = trainer.train(make_job(layers=1, hidden_units=[32]))
    tell(
        "an assertion in a kernel fails its trial",
        failed is not None and failed.outcome == "failed",
        failed.reason[:120] if failed else "no answer",
    )
    tell(
        "the trainer goes on after it",
        following is not None and following.outcome == "complete",
        following.outcome if following else "no answer",
    )
    trainer.end()


def out_of_memory(folder: Path) -> None:
    """Too large, and just too large for a recording: out of memory, or eager; and the next trial as ever."""
    if not ON_GPU:
        tell("memory that runs out is known", None, "needs a GPU")
        return
    bench = Bench(folder)
    huge = bench.train(make_job(layers=2, hidden_units=[400_000, 400_000]))
    tell("memory that runs out is known", huge[0] == "out_of_memory", huge[2][-160:])
    total = torch.cuda.get_device_properties(0).total_memory
    outcomes = {}
    for mib in (40, 60, 80, 100, 120, 140, 170, 200, 250, 300, 400):
        release_memory(bench.device)
        share = min(1.0, (torch.cuda.memory_reserved() + (mib << 20)) / total)
        torch.cuda.set_per_process_memory_fraction(share, 0)
        outcomes[mib] = bench.train(make_job(layers=1, hidden_units=[3000], batch_size=1000))[0]
    torch.cuda.set_per_process_memory_fraction(1.0, 0)
    known = {"complete", "out_of_memory", "not recorded"}
    tell("so it is under every limit", set(outcomes.values()) <= known, outcomes)
    same_stream = torch.cuda.current_stream() == torch.cuda.default_stream()
    following = bench.train(make_job(layers=1, hidden_units=[32]))[0]
    tell(
        "a trial after it trains",
        following == "complete" and same_stream,
        f"{following}, default stream: {same_stream}",
    )


class After(StopRequest):
    """Comes when it has been looked for so often: in the middle of an epoch."""

    def __init__(self, looks: int) -> None:
        self.keep, self._looks = True, looks

    @property
    def asked(self) -> bool:  # type: ignore[override]
        self._looks -= 1
        return self._looks < 0


def resume(folder: Path) -> None:
    """Stopped in the middle and gone on with: bit for bit the trial that was not, where it is deterministic."""
    bench = Bench(folder)
    cases = {
        "dropout": {"dropout": 0.2},
        "flip, mixup": {"flip": True, "mixup_alpha": 0.3},
        "average, sgd": {"ema_decay": 0.99, "optimizer": "sgd", "momentum": 0.9},
        "rmsprop": {"optimizer": "rmsprop"},
    }
    differing = []
    for name, settings in cases.items():
        config = {"layers": 2, "hidden_units": [64, 32], "deterministic": True, "batch_size": 16, **settings}
        whole = bench.train(make_job(protocol={"epochs": 4}, **config))
        job = make_job(protocol={"epochs": 4}, checkpoint=folder / name, **config)
        stopped, resumed = bench.train(job, After(110)), bench.train(job)
        if stopped[0] != "stopped" or whole[1] != resumed[1]:
            differing.append(f"{name}: {whole[1]} / {resumed[1]}")
    tell("a resumed trial is the same bit for bit", not differing, differing or ", ".join(cases))


def leftovers(folder: Path) -> None:
    """What sixteen trials, each with a recording, leave in the memory."""
    bench = Bench(folder)
    held = []
    wide = 2000 if ON_GPU else 50
    for number in range(16):
        config = {"layers": 2, "hidden_units": [wide + number, wide], "batch_size": 512}
        bench.train(make_job(trial=number, protocol={"epochs": 8}, **config))
        release_memory(bench.device)  # as a trainer does after each
        held.append(torch.cuda.memory_reserved() >> 20 if ON_GPU else 0)
    left = held[-1] <= held[2] + 64 if ON_GPU else None
    tell(
        "ended trials leave nothing in the memory",
        left,
        f"MiB reserved after each: {held}" if ON_GPU else "needs a GPU",
    )


def twice(folder: Path) -> None:
    """deterministic=True: the same loss twice."""
    bench = Bench(folder)
    cases: dict[str, tuple[str, dict[str, object]]] = {
        "mlp": ("digits", {"layers": 2, "hidden_units": [64, 32], "dropout": 0.2}),
        "lenet": ("mnist", {}),
    }
    if ON_GPU:
        cases["squeezenet"] = ("cifar10", {"dropout": 0.1, "batch_norm": True})
        cases["mobilenet_v3_small"] = (
            "cifar10",
            {"stem_stride": 1, "crop_padding": 4, "flip": True, "ema_decay": 0.99},
        )
    for model, (dataset, config) in cases.items():
        job = make_job(model, dataset=dataset, deterministic=True, protocol={"epochs": 2, "subset": 1500}, **config)
        first, second = bench.train(job), bench.train(job)
        same = first[0] == "complete" and first[1] == second[1]
        tell(
            f"{model} gives the same loss twice",
            same,
            f"{first[1]} {first[2][:100]}" if same else f"{first} / {second}",
        )


PROBES: tuple[Callable[[Path], None], ...] = (
    reads_a_value,
    host_choice,
    assertion,
    out_of_memory,
    resume,
    leftovers,
    twice,
)

if __name__ == "__main__":
    {probe.__name__: probe for probe in PROBES}[sys.argv[1]](work_folder())
    sys.stdout.flush()
    os._exit(0)  # a process whose CUDA context has ended can hang on its way out
