"""Slots on GPUs and MIG slices, with an nvidia-smi that lists what a machine of another kind has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpo.errors import DeviceError
from hpo.trainers.devices import find_slots
from hpo.trainers.process import TrainerProcess

TWO = "GPU 0: NVIDIA H200 (UUID: GPU-aaaa)\nGPU 1: NVIDIA H200 (UUID: GPU-bbbb)\n"
SLICED = (
    "GPU 0: NVIDIA H200 (UUID: GPU-aaaa)\n"
    "  MIG 3g.71gb     Device  0: (UUID: MIG-1111)\n"
    "  MIG 3g.71gb     Device  1: (UUID: MIG-2222)\n"
    "GPU 1: NVIDIA H200 (UUID: GPU-bbbb)\n"
)


def machine(folder: Path, listing: str, **more: str) -> dict[str, str]:
    """The environment on a machine whose nvidia-smi prints `listing`."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = -L ] && printf '%s' '{listing}'\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", **more}


def devices(environ: dict[str, str], which: str | None = None) -> list[str]:
    return [spec.device for spec in find_slots(which, trainers=None, trainers_per_gpu=1, environ=environ)]


@pytest.mark.parametrize(("visible", "count"), [(None, 2), ("1", 1), ("GPU-bbbb,GPU-aaaa", 2), ("0,-1,1", 1)], ids=str)
def test_every_visible_gpu_gets_a_trainer(tmp_path: Path, visible: str | None, count: int) -> None:
    environ = machine(tmp_path, TWO, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}))
    assert devices(environ) == devices(environ, "cuda") == [f"cuda:{index}" for index in range(count)]


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_are_not_there(tmp_path: Path, visible: str) -> None:
    """Without --device the CPU is used; asked for by name they are refused."""
    environ = machine(tmp_path, TWO, CUDA_VISIBLE_DEVICES=visible)
    assert set(devices(environ)) == {"cpu"}
    with pytest.raises(DeviceError, match="no device cuda:0 here"):
        devices(environ, "cuda")


def test_a_gpu_can_be_chosen_and_one_too_many_is_refused(tmp_path: Path) -> None:
    environ = machine(tmp_path, TWO)
    assert devices(environ, "cuda:1") == ["cuda:1"]
    with pytest.raises(DeviceError, match="no device cuda:2 here"):
        devices(environ, "cuda:1,cuda:2")


@pytest.mark.parametrize(
    ("visible", "slices"),
    [(None, ["MIG-1111", "MIG-2222", "GPU-bbbb"]), ("MIG-2222", ["MIG-2222"])],
    ids=["all", "those named"],
)
def test_every_mig_slice_gets_a_trainer_that_is_shown_no_other(
    tmp_path: Path, visible: str | None, slices: list[str]
) -> None:
    """CUDA shows a process one slice only: its second would be no device."""
    environ = machine(tmp_path, SLICED, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}))
    assert devices(environ) == [f"cuda:{index}" for index in range(len(slices))]
    assert [_as_started(device, environ) for device in devices(environ)] == [f"cuda:0 {one}" for one in slices]


def test_whole_gpus_keep_their_numbers(tmp_path: Path) -> None:
    environ = machine(tmp_path, TWO, CUDA_VISIBLE_DEVICES="0,1")
    assert _as_started("cuda:1", environ) == "cuda:1 0,1"
    assert _as_started("cpu", environ) == "cpu 0,1"


def _as_started(device: str, environ: dict[str, str]) -> str:
    """The device that a trainer's process is told, and what it may see."""
    program = (
        "import os, sys, socket; words = sys.argv;"
        "said = words[words.index('--device') + 1] + ' ' + os.environ.get('CUDA_VISIBLE_DEVICES', 'all');"
        "connection = socket.socket(fileno=int(words[words.index('--fd') + 1]));"
        "connection.sendall(len(said).to_bytes(4, 'big') + said.encode())"
    )
    process = TrainerProcess(device, command=[sys.executable, "-c", program], environ=environ)
    try:
        return process.connection.recv_bytes().decode()
    finally:
        process.kill()
