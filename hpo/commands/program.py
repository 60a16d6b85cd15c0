"""A program that runs for a trial: its process, what it prints, and the signals that it gets."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from hpo.commands.descendants import descendants, end_descendants

__all__ = ["GRACE_SECONDS", "Program", "how_it_ended"]

GRACE_SECONDS = 2.0
"""From SIGTERM to SIGKILL. The coordinator waits three seconds for its trainers, and a deadline five for everything."""


class Program:
    """The process, in a session of its own: no terminal, and no Ctrl-C of somebody else's.

    Raises OSError or ValueError where it cannot be started. printed: a descriptor of what it prints, stderr among it.
    """

    def __init__(self, argv: Sequence[str], folder: str, environ: Mapping[str, str]) -> None:
        self.printed, theirs = os.pipe()
        os.set_blocking(self.printed, False)
        try:
            process = subprocess.Popen(
                argv, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(self.printed)
            raise
        finally:
            os.close(theirs)
        self.pid = process.pid
        process.returncode = 0  # `ended` waits for it, together with the orphans that come to this process
        self._code: int | None = None
        self._asked_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over: once asked to end, only with all that it started, which may be writing a checkpoint."""
        self._reap()
        if self._asked_at is None:
            return self._code is not None
        if time.monotonic() - self._asked_at > GRACE_SECONDS:
            return True
        return self._code is not None and not descendants()

    def ask_to_end(self) -> None:
        """SIGTERM for its whole group, once."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGTERM)

    def finish(self) -> int:
        """Kill what is left of it, children and all. Its exit code; below zero the signal that ended it."""
        end_descendants()
        self._reap()
        return -signal.SIGKILL if self._code is None else self._code

    def close(self) -> None:
        os.close(self.printed)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if found[0] == self.pid:
                    self._code = os.waitstatus_to_exitcode(found[1])


def how_it_ended(code: int) -> str:
    """In words: "exit code 3", "killed by SIGSEGV"."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
