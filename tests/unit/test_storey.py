"""tests/unit/conftest.py refuses a test that starts a process, whichever way it does."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

WAYS: dict[str, Callable[[], object]] = {
    "subprocess": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "a shell": lambda: subprocess.run("true", shell=True, check=True),
    "os.fork": lambda: os.fork() or os._exit(0),
    "os.system": lambda: os.system("true"),
    "os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "multiprocessing by fork": lambda: multiprocessing.get_context("fork").Process(target=int).start(),
    "multiprocessing by spawn": lambda: multiprocessing.get_context("spawn").Process(target=int).start(),
    "a pool": lambda: ProcessPoolExecutor(1).submit(int).result(),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_unit_test_can_start_a_process(way: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match="move it to tests/system"):
        WAYS[way]()


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports each by its name alone, and refuses the second."""
    names = [path.name for path in Path(__file__).parents[1].rglob("test_*.py")]
    assert len(names) == len(set(names))
