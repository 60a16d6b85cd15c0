"""Commands as a user types them: in this process for speed, or in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_commands import ROOT, Command, Done


@pytest.fixture
def hpo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """`hpo("best", "--study", "x")` in this process, in an empty working folder.

    For searches too: their trainers come from one process that has imported torch, whatever number of them follow.
    """
    from hpo.cli.main import run_command

    monkeypatch.chdir(tmp_path)

    def command(*words: str, env: Mapping[str, str] | None = None) -> Done:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        code = run_command(list(words))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return command


@pytest.fixture
def hpo_process(tmp_path: Path) -> Command:
    """The same in a process of its own, with nothing of the user's terminal."""

    def command(*words: str, env: Mapping[str, str] | None = None, seconds: float = 300.0) -> Done:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        done = subprocess.run(
            [sys.executable, "-m", "hpo", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
            timeout=seconds,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return command
