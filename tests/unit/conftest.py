"""The storey of quick tests: no process, no server."""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_COMPILERS = {"cc", "gcc", "clang", "false"}
"""Kernels are compiled once for each run of the tests."""


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts a process belongs to tests/system."""
    real, spawn = subprocess.Popen.__init__, os.posix_spawn

    def start(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        program = Path(args if isinstance(args, str) else str(args[0])).name
        assert program in _COMPILERS, f"a unit test starts {program}: move it to tests/system"
        real(self, args, *rest, **options)

    def refused(name: str) -> Callable[..., Any]:
        def fail(*_: object, **__: object) -> Any:
            pytest.fail(f"a unit test starts a process with {name}: move it to tests/system")

        return fail

    def spawned(path: Any, *rest: Any, **options: Any) -> int:
        """From Python 3.13 on subprocess starts the compiler with it."""
        return spawn(path, *rest, **options) if Path(path).name in _COMPILERS else refused("os.posix_spawn")()

    monkeypatch.setattr(subprocess.Popen, "__init__", start)
    monkeypatch.setattr(os, "posix_spawn", spawned)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refused("multiprocessing"))
    for name in ("fork", "forkpty", "posix_spawnp", "system"):
        monkeypatch.setattr(os, name, refused(f"os.{name}"))


@pytest.fixture(scope="session")
def postgres_server() -> None:
    """Hides the server that tests/conftest.py starts."""
    pytest.fail("a unit test asks for a database: move it to tests/system")
