"""One process of one side of benchmarks.training: JSON commands in, JSON answers out, a line each.

{"do": "begin", "config": {...}}            a fresh model; answers {}
{"do": "train", "seconds": s, "steps": n}   go on training it for s seconds and at least n steps: {images, seconds}
{"do": "trial", "config": {...}}            one epoch and the validation: {accuracy, seconds}
{"do": "peaks", "bytes": [...]}             {flops, flops_bf16, copy: bytes per second of copies within these}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor
from torchvision import datasets

from benchmarks.opponents import SCRIPTS
from hpo.data import DATASETS
from hpo.data.files import Folders
from hpo.data.splits import split, subset
from hpo.messages import Job
from hpo.messages import Protocol as TrialProtocol
from hpo.models import MODELS
from hpo.training.device import open_device
from hpo.training.fit import fit
from hpo.training.kernels.gemm import product
from hpo.training.progress import StopRequest
from hpo.training.train_state import TrainState
from hpo.training.train_val_split import DataCache
from hpo.training.trial_run import TrialRun

SUBSET, VALIDATION = 15_000, 0.2
"""Images of an end-to-end trial, and the share of them that validates."""


class Ours:
    """What hpo's trainer does, in this process."""

    def __init__(self, root: Path) -> None:
        self._device = open_device("cpu")
        self._data = DataCache(Folders(root, root / "cache"), self._device)

    def begin(self, config: dict[str, Any]) -> Iterator[int]:
        job = _job(config, subset=None)
        trial = TrialRun(job, self._data, self._device, lambda epoch: None, StopRequest(), lambda sentence: None)
        trial.begin()
        yield from steps_of(trial.state)

    def trial(self, config: dict[str, Any]) -> float:
        finished = fit(_job(config, subset=SUBSET), self._data, self._device, lambda epoch: None, StopRequest())
        return float(finished.metrics.get("val_accuracy", 0.0))


class Opponent:
    def __init__(self, name: str, root: Path) -> None:
        self._script, self._root = SCRIPTS[name], root
        labels = datasets.MNIST(str(root), train=True).targets
        self._whole = split(labels, VALIDATION, 0)
        some = subset(torch.arange(len(labels)), labels, SUBSET, 0)
        train, validation = split(labels[some], VALIDATION, 0)
        self._some = (some[train], some[validation])

    def begin(self, config: dict[str, Any]) -> Iterator[int]:
        return self._script(config, self._root, *self._whole).train_forever()

    def trial(self, config: dict[str, Any]) -> float:
        script = self._script(config, self._root, *self._some)
        for _ in script.epoch():
            pass
        return script.validate()


def main() -> None:
    name, threads, root = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(threads)
    serve(Ours(root) if name == "hpo" else Opponent(name, root))


class Arm(Protocol):
    """One way to train: `begin` yields the images of each step, for ever; `trial` gives the accuracy of a whole one."""

    def begin(self, config: dict[str, Any]) -> Iterator[int]: ...

    def trial(self, config: dict[str, Any]) -> float: ...


def steps_of(state: TrainState) -> Iterator[int]:
    """Train as a trial does, epoch after epoch, for ever; the images of each step."""
    epoch = step = 0
    while True:
        batches = state.batches(epoch)
        state.begin_epoch(epoch, batches)
        for index in batches:
            state.set_lr(step)
            state.step(index)
            step += 1
            yield len(index)
        state.step.running.read()
        state.step.running.reset()
        epoch += 1


def serve(side: Arm) -> None:
    """Answer the commands on stdin until it closes."""
    running: Iterator[int] = iter(())
    print("{}", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        if command["do"] == "begin":
            running = side.begin(command["config"])
        elif command["do"] == "train":
            answer = _train(running, command["seconds"], command["steps"])
        elif command["do"] == "trial":
            start = perf_counter()
            answer = {"accuracy": side.trial(command["config"]), "seconds": perf_counter() - start}
        elif command["do"] == "peaks":
            answer = {
                "flops": _flops(),
                "flops_bf16": _flops(torch.bfloat16),
                "copy": [_copy(size) for size in command["bytes"]],
            }
        print(json.dumps(answer), flush=True)


def _train(running: Iterator[int], seconds: float, steps: int) -> dict[str, float]:
    images = done = 0
    start = perf_counter()
    while perf_counter() - start < seconds or done < steps:
        images += next(running)
        done += 1
    return {"images": images, "seconds": perf_counter() - start}


def _job(config: dict[str, Any], subset: int | None) -> Job:
    model = {1: "shallow"}.get(len(config["hidden_units"]), "mlp") if config["hidden_units"] else "lenet"
    own = {
        "lenet": {},
        "shallow": {"hidden_units": (config["hidden_units"] or [0])[0]},
        "mlp": {"hidden_units": config["hidden_units"], "layers": len(config["hidden_units"] or [])},
    }[model]
    row = DATASETS["mnist"]
    protocol = TrialProtocol(epochs=1, objectives=("val_accuracy",), validation=VALIDATION, subset=subset)
    recipe = {name: config[name] for name in ("batch_size", "lr", "optimizer")}
    dataset = {
        "name": "mnist",
        "loader": row.loader,
        "shape": list(row.shape),
        "classes": list(row.classes),
        "validation": row.validation,
    }
    described = {"builder": MODELS[model].builder, "reads": list(MODELS[model].reads)}
    return Job(0, 0, {**own, **recipe}, protocol, described, dataset, seed=0)


def _flops(dtype: torch.dtype = torch.float32) -> float:
    a, b = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
    return 2 * 1024**3 / min(_seconds(lambda: product(a, b)) for _ in range(30))


def _copy(size: int) -> float:
    """Bytes read and written per second by copies between two halves of `size` bytes."""
    source = torch.ones(max(1, size // 8))
    target = torch.empty_like(source)

    def copies() -> Tensor:
        for _ in range(1 + 20_000_000 // size):
            target.copy_(source)
        return target

    return 8 * len(source) * (1 + 20_000_000 // size) / min(_seconds(copies) for _ in range(10))


def _seconds(work: Any) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


if __name__ == "__main__":
    main()
