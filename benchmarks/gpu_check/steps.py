"""Microseconds of a training step: eager, recorded, and what its kernels alone take."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from torch import Tensor

from benchmarks.gpu_check.jobs import ON_GPU, Bench, make_job, work_folder
from benchmarks.gpu_check.rows import tell
from hpo.training.configuration import Recipe
from hpo.training.device import set_deterministic, synchronize
from hpo.training.train_state import TrainState

SECONDS = 0.8 if ON_GPU else 0.2
LARGEST = 1.3
"""A recorded step takes at most this many times as long as its kernels."""
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("mlp", "mnist", {"batch_size": 64, "layers": 2, "hidden_units": [512, 512], "ema_decay": 0.999}),
    ("lenet", "mnist", {"batch_size": 64, "ema_decay": 0.999}),
    ("lenet", "mnist", {"batch_size": 3, "ema_decay": 0.999}),
    ("lenet", "mnist", {"batch_size": 512, "ema_decay": 0.999}),
    ("mobilenet_v3_small", "cifar10", {"batch_size": 128, "stem_stride": 1, "precision": "bf16", "channels_last": True,
        "crop_padding": 4, "flip": True, "rotation": 15.0, "optimizer": "sgd", "momentum": 0.9}),
)  # fmt: skip


def main() -> None:
    bench = Bench(work_folder())
    for model, dataset, config in CASES if ON_GPU else CASES[:2]:
        name = f"step of {model}, batch {config['batch_size']}"
        try:
            times = {
                way: _microseconds(bench, model, dataset, config, record=way == "recorded")
                for way in ("eager", "recorded")
            }
            kernels = _kernels(bench, model, dataset, config) if ON_GPU else 0.0
        except Exception as error:  # noqa: BLE001 - the other cases are still to be measured
            tell(name, None, f"{type(error).__name__}: {str(error).splitlines()[0][:150]}")
            continue
        figure = f"eager {times['eager']:.0f} us, recorded {times['recorded']:.0f} us, kernels {kernels:.0f} us"
        tell(name, times["recorded"] <= LARGEST * kernels if ON_GPU else None, figure)


def _state(
    bench: Bench, model: str, dataset: str, config: dict[str, Any], record: bool
) -> tuple[TrainState, list[Tensor]]:
    job = make_job(model, dataset=dataset, protocol={"subset": 4000}, **config)
    state = TrainState(job, Recipe.read(job.config), bench.data.parts(job), bench.device, 0, record=record)
    set_deterministic(False)
    batches = [batch for batch in state.batches(0) if len(batch) == config["batch_size"]]
    for number in range(8):
        state.step(batches[number % len(batches)])
    synchronize(bench.device)
    return state, batches


def _microseconds(bench: Bench, model: str, dataset: str, config: dict[str, Any], record: bool) -> float:
    state, batches = _state(bench, model, dataset, config, record)
    begun, count = perf_counter(), 0
    while perf_counter() - begun < SECONDS:
        for batch in batches[:50]:
            state.step(batch)
        count += len(batches[:50])
    synchronize(bench.device)
    return 1e6 * (perf_counter() - begun) / count


def _kernels(bench: Bench, model: str, dataset: str, config: dict[str, Any]) -> float:
    """What the kernels of an eager step take, one after the other."""
    from torch.profiler import ProfilerActivity, profile

    state, batches = _state(bench, model, dataset, config, record=False)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for batch in batches[:10]:
            state.step(batch)
        synchronize(bench.device)
    return float(sum(event.self_device_time_total for event in profiled.key_averages())) / len(batches[:10])


if __name__ == "__main__":
    main()
    sys.stdout.flush()
