"""A trainer without torch: it speaks hpo.messages, resumes from a checkpoint of its own, and misbehaves on request.

The test says what it wants in the environment, as JSON under FAKE:

    log            file that gets a line per event: time, pid, event, trial number, epoch; "ready" and
                   "told" (to stop) are of no trial
    epoch_seconds  how long an epoch takes
    hold           file; while it exists, no epoch ends above the one it names
    trials         {number: deed}, done in the middle of epoch 2 unless said otherwise:
                   "diverged", "out_of_memory", "failed", "shapes" (failed, each in other words), "deaf" (hears no
                   Stop), "die:SIGKILL", "die:SIGSEGV", "die:exit" (as a model's os._exit would); with "!" in front on
                   every attempt, otherwise on the first
    every          a deed for all trials
    sick           file; every process but the first, which locks it, dies as soon as it is given a trial
    all_sick       every process does
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hpo.messages import Epoch, Finished, Inspect, Inspected, Job, Ready, Stop, decode, encode

FAKE: dict[str, Any] = json.loads(os.environ.get("FAKE", "{}"))


def metric(config: dict[str, Any], epoch: int) -> float:
    """The validation accuracy after `epoch`: known to the tests, so that a wrong value in the database is noticed."""
    return round(1.0 - config["lr"] - 0.1 / epoch, 6)


class FakeTrainer:
    def __init__(self, fd: int) -> None:
        self.connection = Connection(fd)
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self.stop: Stop | None = None
        self.inspect = threading.Event()
        self.sick = "all_sick" in FAKE or ("sick" in FAKE and not self.lock(FAKE["sick"]))
        threading.Thread(target=self.read, daemon=True).start()

    def lock(self, path: str) -> bool:
        self.folder_lock = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self.folder_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def read(self) -> None:
        while True:
            try:
                message = decode(self.connection.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)
            if isinstance(message, Job):
                self.stop = None
                self.jobs.put(message)
            elif isinstance(message, Stop):
                self.log("told")
                self.stop = message
            elif isinstance(message, Inspect):
                self.inspect.set()

    def answer_inspection(self) -> None:
        self.inspect.wait()
        self.send(Inspected())

    def send(self, message: Any) -> None:
        try:
            self.connection.send_bytes(encode(message))
        except OSError:
            os._exit(0)

    def log(self, event: str, job: Job | None = None, epoch: int = 0) -> None:
        with open(FAKE["log"], "a") as file:
            file.write(f"{time.monotonic()} {os.getpid()} {event} {job.number if job else -1} {epoch}\n")

    def run(self) -> None:
        self.log("ready")
        self.send(Ready(os.getpid(), "cpu", "fake", {}))
        threading.Thread(target=self.answer_inspection, daemon=True).start()
        while True:
            job = self.jobs.get()
            if self.sick:
                self.log("sick", job)
                os._exit(9)
            self.send(self.train(job))

    def train(self, job: Job) -> Finished:
        folder = Path(job.checkpoint)
        saved = folder / "current"
        done = int(saved.read_text()) if saved.exists() else 0
        self.log("begin", job, done)
        for epoch in range(1, done + 1):
            self.send(self.epoch(job, epoch, replayed=True))
        for epoch in range(done + 1, job.protocol.epochs + 1):
            ended = self.work(job, epoch, first=not folder.exists())
            folder.mkdir(parents=True, exist_ok=True)
            if ended is not None:
                self.log(ended.outcome, job, epoch)
                return ended
            saved.write_text(str(epoch))
            self.log("epoch", job, epoch)
            self.send(self.epoch(job, epoch))
            if 0 < job.pause_after <= epoch < job.protocol.epochs:
                self.log("waits", job, epoch)
                return Finished(job.trial_id, "stopped", epoch)
        metrics = self.epoch(job, epoch).metrics
        self.log("complete", job, epoch)
        return Finished(job.trial_id, "complete", epoch, epoch, metrics, {"train_seconds": 1.0})

    def epoch(self, job: Job, epoch: int, *, replayed: bool = False) -> Epoch:
        value = metric(job.config, epoch)
        metrics = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": value, "lr": 0.1}
        return Epoch(job.trial_id, epoch, metrics, 0.1, [(epoch, value)], replayed)

    def work(self, job: Job, epoch: int, *, first: bool) -> Finished | None:
        """An epoch. None when it went through, else how the trial ended in the middle of it."""
        deed: str = FAKE.get("trials", {}).get(str(job.number), FAKE.get("every", ""))
        begun = time.monotonic()
        while time.monotonic() - begun < FAKE.get("epoch_seconds", 0.02) or self.held(epoch):
            if self.stop is not None and deed != "deaf":
                return Finished(job.trial_id, "stopped", epoch - 1)
            time.sleep(0.005)
        marker = Path(f"{job.checkpoint}.deed")
        if epoch == 2 and deed and deed != "deaf" and (deed[0] == "!" or not marker.exists()):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            return self.do(deed.lstrip("!"), job, epoch)
        return None

    def held(self, epoch: int) -> bool:
        try:
            return epoch > int(Path(FAKE["hold"]).read_text() or 0)
        except FileNotFoundError:
            return False

    def do(self, deed: str, job: Job, epoch: int) -> Finished:
        if deed == "shapes":  # as torch says it: each trial's own numbers in the message, one line of the user's
            reason = f"RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x{job.number + 7} and 32x10)"
            where = FAKE.get("where", "")
            details = ['  File "linear.py", line 134', reason]
            return Finished(job.trial_id, "failed", epoch - 1, reason=reason, details=details, where=where)
        if deed == "failed":
            details = ["Traceback (most recent call last):", '  File "model.py", line 7', "ValueError: 7 is not 8"]
            return Finished(job.trial_id, "failed", epoch - 1, reason="ValueError: 7 is not 8", details=details)
        if deed in ("diverged", "out_of_memory"):
            reason = {"diverged": "train_loss is nan in epoch 2", "out_of_memory": "batch [64, 1, 8, 8]"}[deed]
            return Finished(job.trial_id, deed, epoch - 1, reason=reason)
        self.log(deed, job, epoch)
        if deed == "die:SIGSEGV":
            ctypes.string_at(0)
        elif deed == "die:SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    FakeTrainer(int(sys.argv[sys.argv.index("--fd") + 1])).run()
