"""A trainer that trains nothing: the messages of one, in a child process, at a given number of seconds per epoch.

Appends to HPO_BENCHMARK_WAITS/<pid>, per trial: seconds from its last word about the trial before to its next job.
"""

from __future__ import annotations

import argparse
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import simulated
from hpo.messages import Epoch, Finished, Inspect, Inspected, Job, Message, Ready, Stop, decode, encode


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int)
    parser.add_argument("--device")
    connection = Connection(parser.parse_args().fd)
    seconds = float(os.environ["HPO_BENCHMARK_EPOCH_SECONDS"])
    waits = (Path(os.environ["HPO_BENCHMARK_WAITS"]) / str(os.getpid())).open("a", buffering=1)
    connection.send_bytes(encode(Ready(os.getpid(), "cpu", "nothing", {})))
    began = time.perf_counter()
    while (job := _receive(connection)) is not None:
        if isinstance(job, Inspect):
            connection.send_bytes(encode(Inspected()))
        elif isinstance(job, Job):
            waits.write(f"{time.perf_counter() - began}\n")
            connection.send_bytes(encode(_train(job, connection, seconds)))
            began = time.perf_counter()


def _train(job: Job, connection: Connection, seconds: float) -> Finished:
    value = 0.0
    for epoch in range(1, simulated.EPOCHS + 1):
        if connection.poll(seconds) and isinstance(_receive(connection), Stop):
            return Finished(job.trial_id, "stopped", epoch - 1)
        value = simulated.value(job.config, epoch, job.number)
        metrics = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": value, "lr": 1e-3}
        connection.send_bytes(encode(Epoch(job.trial_id, epoch, metrics, seconds, [(epoch, value)])))
    return Finished(job.trial_id, "complete", simulated.EPOCHS, simulated.EPOCHS, {"val_accuracy": value})


def _receive(connection: Connection) -> Message | None:
    """The next message; None when the coordinator has left."""
    try:
        return decode(connection.recv_bytes())
    except (EOFError, OSError):
        return None


if __name__ == "__main__":
    main()
