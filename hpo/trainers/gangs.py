"""Slots of several devices, which train one trial together: which devices make one, and what is left."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.errors import DeviceError
from hpo.trainers.slot import SlotSpec

__all__ = ["gangs", "left_over"]


def gangs(alone: Sequence[SlotSpec], size: int, trainers: int | None, gpus: Sequence[str]) -> list[SlotSpec]:
    """Slots of `size` devices each, made of the slots that train `alone`, in their order.

    trainers: how many on the CPU, None for as many as fit; gpus: what the n-th GPU is called, as CUDA names it
    Raises DeviceError where there are too few devices, or MIG slices among them.
    """
    groups = [[spec.device for spec in alone if (spec.device == "cpu") is on_cpu] for on_cpu in (False, True)]
    names = [name for name in dict.fromkeys(groups[0]) if gpus[int(name.removeprefix("cuda:"))].startswith("MIG-")]
    if names:
        raise DeviceError(
            f"{names[0]} is a MIG slice, and {size} devices cannot train a trial together with one",
            evidence=["NCCL connects no MIG slices with each other"],
            next="leave --devices-per-trial out: each slice trains trials of its own",
        )
    made = [_cut(list(dict.fromkeys(groups[0])), size), _cut(groups[1], size)[:trainers]]
    if trainers is not None and groups[1] and len(made[1]) < trainers:
        raise DeviceError(
            f"--trainers {trainers} with --devices-per-trial {size} needs {trainers * size} cores, of {len(groups[1])}",
            evidence=["each process trains on a core of its own: more of them than cores wait for each other"],
            next=f"give --trainers {len(made[1])}" if made[1] else "give a smaller --devices-per-trial",
        )
    if not made[0] and not made[1]:
        raise DeviceError(
            f"--devices-per-trial {size} needs {size} GPUs or cores, and this run has {len(alone)}",
            evidence=[f"devices: {_named([spec.device for spec in alone])}"],
            next="give a smaller number, or run on a host that has as many",
        )
    return [SlotSpec(",".join(devices)) for kind in made for devices in kind]


def left_over(alone: Sequence[SlotSpec], slots: Sequence[SlotSpec]) -> str:
    """Which devices of those that could train `alone` no slot has, in a sentence; "" for none."""
    left = [spec.device for spec in alone]
    for device in (device for spec in slots for device in spec.devices):
        left.remove(device)
    size = len(slots[0].devices)
    return f"{len(alone)} devices, {size} for each trial: {_named(left)} left over, and trains nothing" if left else ""


def _named(devices: Sequence[str]) -> str:
    """ "cuda:6, cuda:7", "2 x cpu"."""
    return ", ".join(
        name if devices.count(name) == 1 else f"{devices.count(name)} x {name}" for name in dict.fromkeys(devices)
    )


def _cut(devices: list[str], size: int) -> list[list[str]]:
    return [devices[start : start + size] for start in range(0, len(devices) - size + 1, size)]
