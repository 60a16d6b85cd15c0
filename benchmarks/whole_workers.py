"""Whole workers: real loops and storage threads in a few processes; only the trainers are simulated, by threads."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from benchmarks import simulated
from benchmarks.light_workers import EPOCHS
from hpo import TPE, NoPruner, Random
from hpo.messages import Epoch, Finished, Inspect, Inspected, Job, Message, Ready, Stop, decode, encode
from hpo.search import parts
from hpo.search.options import RunOptions
from hpo.search.search import Search
from hpo.settings import Settings
from hpo.study.discovery import FoundStudy

__all__ = ["found", "whole_workers"]


class ThreadTrainer:
    """Speaks as a trainer process does, from a thread."""

    trial_seconds = 5.0
    idle: list[float]  # seconds between a trial's end and the next job, of all trainers of this process

    def __init__(self, device: str, **_: Any) -> None:
        self.connection, self._theirs = Pipe()
        self.pid = os.getpid()
        self._random = random.Random(id(self))
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, message: Message) -> bool:
        with suppress(OSError):
            self.connection.send_bytes(encode(message))
        return True

    def receive(self) -> Message | None:
        try:
            return decode(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None

    def kill(self) -> str:
        self.connection.close()
        return "ended"

    close = kill

    def _run(self) -> None:
        with suppress(EOFError, OSError):
            self._say(Ready(self.pid, "cpu", "nothing", {}))
            free_since = None
            while True:
                message = decode(self._theirs.recv_bytes())
                if isinstance(message, Inspect):
                    self._say(Inspected())
                if isinstance(message, Job):
                    if free_since is not None:
                        ThreadTrainer.idle.append(time.monotonic() - free_since)
                    self._say(self._train(message))
                    free_since = time.monotonic()

    def _train(self, job: Job) -> Finished:
        seconds = self._random.lognormvariate(0.0, 0.5) * ThreadTrainer.trial_seconds / EPOCHS
        value = 0.0
        for epoch in range(1, EPOCHS + 1):
            if self._theirs.poll(seconds) and isinstance(decode(self._theirs.recv_bytes()), Stop):
                return Finished(job.trial_id, "stopped", epoch - 1)
            value = simulated.value(job.config, epoch, job.number)
            metrics = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": value, "lr": 1e-3}
            self._say(Epoch(job.trial_id, epoch, metrics, seconds, [(epoch, value)]))
        return Finished(job.trial_id, "complete", EPOCHS, EPOCHS, {"val_accuracy": value})

    def _say(self, message: Message) -> None:
        self._theirs.send_bytes(encode(message))


def whole_workers(pipe: Connection, url: str, count: int, trial_seconds: float, sampler: str) -> None:
    """A process of `count` hosts, which speaks as `light_workers` does."""
    ThreadTrainer.trial_seconds = trial_seconds
    ThreadTrainer.idle = []
    parts.TrainerProcess = ThreadTrainer  # type: ignore[misc, assignment]
    errors: list[str] = []
    loops: list[Any] = []
    started = threading.Barrier(count + 1)

    def host() -> None:
        home = Path(tempfile.gettempdir())  # where nothing is written: no checkpoint, no data set
        settings = Settings(home, storage=url, checkpoint_dir=home / "checkpoints")
        try:
            one = Search.open(found(sampler), RunOptions(worker=True, trainers=1, devices="cpu"), settings)
            loops.append(one.loop)
        except Exception as error:  # noqa: BLE001  # whatever stops a host is what this program is about
            errors.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            started.wait()
            return
        started.wait()
        try:
            one.loop.run()
            one.storage_thread.close(30.0)
        except Exception as error:  # noqa: BLE001
            errors.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")

    threads = [threading.Thread(target=host) for _ in range(count)]
    for thread in threads:
        thread.start()
    started.wait()
    pipe.send("started")
    pipe.recv()
    ThreadTrainer.idle.clear()
    pipe.recv()
    seen = list(ThreadTrainer.idle)
    for loop in loops:
        loop.interrupted = True
    for thread in threads:
        thread.join(60)
    pipe.send({"idle": seen, "ages": [], "errors": errors})


def found(sampler: str) -> FoundStudy:
    chosen = {"random": Random(), "tpe": TPE()}[sampler]
    study = replace(simulated.study, sampler=chosen, pruner=NoPruner(), epochs=EPOCHS)
    return FoundStudy(study, Path(simulated.__file__), ("",))
