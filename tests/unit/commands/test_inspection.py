"""Before the first trial: is the program there, and which GPU does its trainer show it?"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from hpo import command_trainer
from hpo.commands import memory
from hpo.commands.inspection import inspect_command
from hpo.own_messages import OwnCommand
from hpo.trainers import gpus

PYTHON = Path(sys.executable)


def command(folder: Path, *argv: str) -> OwnCommand:
    return OwnCommand(argv=argv, shown=" ".join(argv), folder=str(folder), objectives=("x",))


def problem(asked: OwnCommand) -> Any:
    return inspect_command(asked, {"PATH": str(PYTHON.parent)}).problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "sub").mkdir()
    return tmp_path


def test_a_program_is_looked_for_as_it_will_be_run(folder: Path) -> None:
    for argv in ([PYTHON.name, "train.py"], ["./run"], [str(folder / "run"), "3"], [PYTHON.name, "--load=old.py"]):
        assert problem(command(folder, *argv)) is None


@pytest.mark.parametrize("path", [".", "", "/nowhere:.", "/nowhere:"])
def test_a_path_that_is_relative_begins_in_the_folder_of_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """As the program is looked for when it runs there, and not where hpo was started."""
    monkeypatch.chdir(folder / "sub")
    assert inspect_command(command(folder, "run"), {"PATH": path}).problem is None
    assert "not on the PATH" in str(inspect_command(command(folder / "sub", "run"), {"PATH": path}).problem)


@pytest.mark.parametrize(
    ("argv", "wrong", "next"),
    [
        (["pythonn", "x"], 'program "pythonn" is not on the PATH', str(PYTHON)),
        (["run"], 'program "run" is not on the PATH', "./run"),
        (["./gone"], "gone is not there", "seen from"),
        (["./sub"], "sub is not there", "seen from"),
        (["./train.py"], "train.py may not be executed", "chmod +x"),
        ([PYTHON.name, "trian.py"], "there is no trian.py in", "Command(..., folder=...)"),
    ],
)
def test_what_is_not_there_is_named_with_what_to_do(folder: Path, argv: list[str], wrong: str, next: str) -> None:
    found = problem(command(folder, *argv))
    assert wrong in found["fact"]
    assert next in found["next"]
    assert "no folder here" in problem(command(folder / "gone", *argv))["fact"]


@pytest.mark.parametrize(
    ("device", "visible", "shown"),
    [
        ("cpu", "0,1", ""),
        ("cuda", "0,1", "0"),
        ("cuda:1", "4,7", "7"),
        ("cuda:1", None, "GPU-b"),
        ("cuda:0", "MIG-c", "MIG-c"),
        ("cuda:9", None, "9"),
    ],
)
def test_a_program_is_shown_its_trainers_gpu_alone(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, shown: str
) -> None:
    listing = gpus._Listing((*((f"GPU-{letter}",) for letter in "abcdefg"), ("GPU-h", "MIG-c")))
    monkeypatch.setattr(gpus, "_listed", lambda *_: listing)
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert command_trainer._visible(device, environ) == shown


def test_the_kernels_kills_are_those_of_this_control_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Version 2 with a count, version 1 with another, and a machine that says nothing."""
    files = {
        "proc/self/cgroup": "0::/work\n4:cpu,memory:/old\nnonsense\n",
        "sys/fs/cgroup/work/memory.events": "low 0\noom 3\noom_kill 2\n",
        "sys/fs/cgroup/memory/old/memory.oom_control": "oom_kill_disable 0\noom_kill 5\n",
        "proc/vmstat": "nr_free_pages 1\noom_kill 7\n",
    }
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / str(path).lstrip("/"))
    assert memory.kernel_kills() == 0
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.kernel_kills() == 2 + 5 + 7
    (tmp_path / "proc/vmstat").write_text("oom_kill many\n")
    (tmp_path / "sys/fs/cgroup/work/memory.events").write_text("low\n")
    assert memory.kernel_kills() == 5


def test_the_message_to_a_trainer_comes_through_json(folder: Path) -> None:
    asked = command(folder, "a", "b")
    fields: Any = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(asked).items()}
    assert OwnCommand.from_json(fields) == asked
    assert dataclasses.is_dataclass(asked)
