"""The slots that this host offers, found without torch: every visible GPU or MIG slice, else one per CPU core."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from hpo.errors import DeviceError, UsageError
from hpo.trainers.gangs import gangs
from hpo.trainers.gpus import unlisted, visible_gpus
from hpo.trainers.slot import SlotSpec

__all__ = ["find_slots", "usable_cores"]


def find_slots(
    devices: str | None,
    *,
    trainers: int | None,
    trainers_per_gpu: int,
    environ: Mapping[str, str],
    devices_per_trial: int = 1,
) -> list[SlotSpec]:
    """The slots for `devices`: None (GPUs if there are any, else the CPU), "cpu", "cuda", "cuda:0,cuda:1".

    trainers is the number of CPU trainers (default: the cores this process may use). Of several devices per trial a
    CPU core counts as one, and what is left over has no slot. Raises DeviceError for a GPU that is not there, or that
    seems to be there and is not listed, or for too few devices; UsageError for a number that makes no sense.
    """
    if devices_per_trial > 1:
        if trainers_per_gpu > 1:
            raise UsageError(
                f"--trainers-per-gpu {trainers_per_gpu} and --devices-per-trial {devices_per_trial} exclude each other",
                next="leave one of them out: a trial has its GPUs to itself",
            )
        devices = "cpu" if devices is None and trainers is not None else devices
        alone = find_slots(devices, trainers=None, trainers_per_gpu=1, environ=environ)
        return gangs(alone, devices_per_trial, trainers, visible_gpus(environ))
    if trainers is not None and not 1 <= trainers <= 1024:
        raise UsageError(f"--trainers {trainers} must lie between 1 and 1024")
    if not 1 <= trainers_per_gpu <= 64:
        raise UsageError(f"--trainers-per-gpu {trainers_per_gpu} must lie between 1 and 64")
    gpus = len(visible_gpus(environ))
    if devices is None and trainers is None and (evidence := unlisted(environ)):
        raise DeviceError(
            "this machine seems to have a GPU, but none can be used",
            evidence=evidence,
            next="make `nvidia-smi -L` list it (PATH, LD_LIBRARY_PATH, driver); --device cpu trains without it",
        )
    if devices is None:
        devices = "cuda" if gpus and trainers is None else "cpu"
    specs: list[SlotSpec] = []
    for name in (part.strip() for part in devices.split(",")):
        if name == "cpu":
            specs += [SlotSpec("cpu")] * (trainers or usable_cores())
        elif name == "cuda":
            specs += _gpu_slots(range(gpus) if gpus else [0], gpus, trainers_per_gpu, environ)
        elif match := re.fullmatch(r"cuda:(\d{1,3})", name):
            specs += _gpu_slots([int(match[1])], gpus, trainers_per_gpu, environ)
        else:
            raise UsageError(f"unknown device {name!r}", next="write cpu, cuda, or for example cuda:0,cuda:1")
    return specs


def usable_cores() -> int:
    """Cores that this process may use, by its affinity and the container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return max(1, cores)


def _gpu_slots(
    indices: range | list[int], gpus: int, trainers_per_gpu: int, environ: Mapping[str, str]
) -> list[SlotSpec]:
    for index in indices:
        if index >= gpus:
            raise DeviceError(
                f"no device cuda:{index} here",
                evidence=[f"nvidia-smi and CUDA_VISIBLE_DEVICES leave {gpus} GPUs visible", *unlisted(environ)],
                next="use --device cpu, or make the GPU visible (driver, CUDA_VISIBLE_DEVICES, container runtime)",
            )
    share = f"{1.0 / trainers_per_gpu:.4f}"
    return [
        SlotSpec(f"cuda:{index}", ("--memory-fraction", share)) for index in indices for _ in range(trainers_per_gpu)
    ]
