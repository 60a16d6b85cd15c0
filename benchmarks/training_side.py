"""The processes of one side of benchmarks.training (benchmarks.training_arm), asked the same or kept busy."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

from hpo.trainers.devices import usable_cores
from hpo.training.device import ONE_THREAD

__all__ = ["Side"]

ONE_PROCESS = ("dataset", "tensors", "script")


class Side:
    """The processes of one side, working at the same time.

    alone: one process of one thread, whatever the side
    """

    def __init__(
        self,
        name: str,
        root: Path,
        stack: ExitStack,
        *,
        arm: str = "benchmarks.training_arm",
        alone: bool = False,
    ) -> None:
        cores = usable_cores()
        count, threads = (1, cores) if name in ONE_PROCESS else (cores, 1)
        if alone:
            count, threads = 1, 1
        environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
        environment |= ONE_THREAD if threads == 1 else {}
        words = [sys.executable, "-m", arm, name, str(threads), str(root)]
        self._processes = [
            stack.enter_context(
                subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            )
            for _ in range(count)
        ]
        for process in self._processes:
            self._answer(process)
            stack.callback(process.kill)

    @property
    def process_ids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def ask(self, **command: Any) -> list[dict[str, Any]]:
        """The answer of every process to the same command."""
        for process in self._processes:
            self._send(process, command)
        return [self._answer(process) for process in self._processes]

    def trials(self, configs: list[dict[str, Any]]) -> tuple[float, list[float]]:
        """(seconds, accuracy of each): every process takes the next configuration when it has finished one."""
        start = perf_counter()
        waiting, accuracies = list(configs), []
        with selectors.DefaultSelector() as selector:
            for process in self._processes[: len(waiting)]:
                selector.register(process.stdout, selectors.EVENT_READ, process)  # type: ignore[arg-type]
                self._send(process, {"do": "trial", "config": waiting.pop(0)})
            while len(accuracies) < len(configs):
                for key, _ in selector.select():
                    accuracies.append(self._answer(key.data)["accuracy"])
                    if waiting:
                        self._send(key.data, {"do": "trial", "config": waiting.pop(0)})
        return perf_counter() - start, accuracies

    @staticmethod
    def _send(process: subprocess.Popen[str], command: dict[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of this benchmark died with status {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
