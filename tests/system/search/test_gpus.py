"""Slots on GPUs and MIG slices, with an nvidia-smi that lists what a machine of another kind has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpo.errors import DeviceError
from hpo.reproduction.reproduce import _device_like
from hpo.trainers import gpus
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


def broken(folder: Path, script: str, **more: str) -> dict[str, str]:
    """The environment on a machine whose nvidia-smi runs `script`."""
    environ = machine(folder, "", **more)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    return environ


@pytest.fixture
def gpu_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev, with the file that the driver makes for a first GPU."""
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "nvidia0").touch()
    monkeypatch.setattr(gpus, "_DEVICES", folder)
    return folder


@pytest.fixture(autouse=True)
def no_gpu_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine of these tests has."""
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path / "nothing")


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


@pytest.mark.parametrize(
    ("visible", "there"),
    [("0,1", ["0"]), ("1", []), ("GPU-aa", ["GPU-aa"]), ("GPU-cccc,0", []), ("0,GPU-cccc,0", ["0"]), ("0,x", ["0"])],
)
def test_what_is_named_and_not_there_gets_no_trainer(tmp_path: Path, visible: str, there: list[str]) -> None:
    """As CUDA does it, which ignores everything after a device that it does not find."""
    one = TWO.splitlines(keepends=True)[0]
    assert gpus.visible_gpus(machine(tmp_path, one, CUDA_VISIBLE_DEVICES=visible)) == there


def test_nvidia_smi_finds_the_library_that_its_environment_names(tmp_path: Path) -> None:
    """As on Kubernetes, where the driver lies under /usr/local/nvidia."""
    script = f"[ \"$LD_LIBRARY_PATH\" = /usr/local/nvidia/lib64 ] || exit 12; printf '%s' '{TWO}'"
    assert devices(broken(tmp_path, script, LD_LIBRARY_PATH="/usr/local/nvidia/lib64")) == ["cuda:0", "cuda:1"]
    assert set(devices(broken(tmp_path, script))) == {"cpu"}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo Failed to initialize NVML: Driver/library version mismatch; exit 18", "version mismatch"),
        ("sleep 60", "did not answer within"),
        ("exit 0", "lists none"),
        ("", "cannot be run"),
    ],
    ids=["mismatch", "hangs", "none", "missing"],
)
def test_a_gpu_that_is_there_and_not_listed_is_no_silent_search_on_the_cpu(
    tmp_path: Path, gpu_file: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    """What speaks for a GPU, and why it is not seen; asked for the CPU, the search runs there."""
    monkeypatch.setattr(gpus, "_SECONDS", 1)
    environ = broken(tmp_path, script)
    if not script:
        (tmp_path / "nvidia-smi").unlink()
    monkeypatch.setattr(gpus, "_DEVICES", gpu_file)
    for which in (None, "cuda"):
        with pytest.raises(DeviceError, match=r"GPU|cuda:0") as raised:
            devices(environ, which)
        said = str(raised.value)
        assert "/dev/nvidia0 is there" in said
        assert why in said
        assert "--device cpu" in said
    assert set(devices(environ, "cpu")) == {"cpu"}
    assert len(find_slots(None, trainers=3, trainers_per_gpu=1, environ=environ)) == 3


@pytest.mark.parametrize(
    ("more", "seems"),
    [
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-aaaa"}, True),
        ({"SLURM_JOB_GPUS": "0,1"}, True),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, False),  # stands in every image of NVIDIA's
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, False),
        ({"SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": ""}, False),
    ],
    ids=str,
)
def test_a_gpu_that_was_allotted_and_not_listed_is_refused(tmp_path: Path, more: dict[str, str], seems: bool) -> None:
    environ = broken(tmp_path, "exit 9", **more)
    assert bool(gpus.unlisted(environ)) is seems
    if seems:
        with pytest.raises(DeviceError, match="seems to have a GPU"):
            devices(environ)
    else:
        assert set(devices(environ)) == {"cpu"}


@pytest.mark.parametrize(("then", "now"), [("cuda:1", "cuda:1"), ("cuda:3", "cuda"), ("cpu", "cpu"), ("x", "x")])
def test_a_trial_of_a_gpu_that_this_host_lacks_is_reproduced_on_another(tmp_path: Path, then: str, now: str) -> None:
    """It was refused: no device cuda:3 here."""
    assert _device_like(then, machine(tmp_path, TWO)) == now


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
