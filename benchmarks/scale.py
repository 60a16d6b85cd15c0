"""How many hosts one PostgreSQL serves: real loops and storage threads, trials that only take time.

    python -m benchmarks.scale [--workers 1 8 64 256] [--rounds 2] [--seconds 30] [--sampler tpe] [--record]

A worker is what a host runs: a loop, a storage thread, its connection, and one slot. Its trainer is a thread that says
what a trainer says, after so long; trial lengths are lognormal around the given median. Workers are threads in a few
processes, so that 256 of them fit into a small machine's memory; what they cost here is in the table beside what the
server costs, because on a cluster only the server is shared.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from benchmarks import simulated
from benchmarks.metering import postgres_cpu
from benchmarks.recording import recorded
from hpo import TPE, NoPruner, Random
from hpo.messages import Epoch, Finished, Inspect, Inspected, Job, Message, Ready, Stop, decode, encode
from hpo.search import parts
from hpo.search.code import code_facts
from hpo.search.open_study import OpenOptions, prepare_study
from hpo.search.options import RunOptions
from hpo.search.search import Search
from hpo.settings import Settings
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.engine import open_engine
from hpo.study.discovery import FoundStudy

SPAWN = get_context("spawn")
WORKERS_PER_PROCESS = 32
EPOCHS = 5
TARGET = 10_000_000


@dataclass(frozen=True)
class Row:
    """What W workers did in the measured window. Rates are per second; shares are of one CPU core."""

    workers: int
    trials: float
    ideal: float
    idle: float
    server_cpu: float
    clients_cpu: float
    connections: int
    commits: float
    waiting: float
    failed: int
    why: str


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


def main() -> None:
    options = _options()
    with recorded("scale", "Hosts on one PostgreSQL", options.record), tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            url = _server(home, connections=max(options.workers) * 2 + 50)
            _print_head(url, options)
            rows = []
            for turn in range(options.rounds):
                for workers in options.workers:
                    rows.append(_measure(url, home, f"scale{turn}_{workers}", workers, options))
                    _print_row(rows[-1])
        finally:
            leave_embedded(home)
        busiest = max(rows, key=lambda row: row.trials)
        print(f"\nserver CPU per trial at the highest rate: {busiest.server_cpu / busiest.trials * 1000:.1f} ms")


def _server(home: Path, connections: int) -> str:
    """The server that comes with hpo, with its own settings but room for so many connections."""
    engine = open_engine(embedded_url(home))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER SYSTEM SET max_connections = {connections}"))
    engine.dispose()
    leave_embedded(home)
    return embedded_url(home)


def _measure(url: str, home: Path, database: str, workers: int, options: argparse.Namespace) -> Row:
    """One study of its own, `workers` coordinators on it: warm up, measure, stop."""
    admin = open_engine(url)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {database}"))
    admin.dispose()
    url = make_url(url).set(database=database).render_as_string(hide_password=False)
    engine = open_engine(url)
    prepare_study(engine, _found(options.sampler), OpenOptions(trials_target=TARGET), code_facts())
    shares = [min(WORKERS_PER_PROCESS, workers - first) for first in range(0, workers, WORKERS_PER_PROCESS)]
    processes, pipes = [], []
    for share in shares:
        ours, theirs = SPAWN.Pipe()
        processes.append(SPAWN.Process(target=_hosts, args=(theirs, url, share, str(home), vars(options))))
        processes[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()  # every worker has had a trial, or has failed to start
    time.sleep(options.trial_seconds)
    before = _counters(engine, home, processes)
    connections, waiting = _watch_connections(engine, options.seconds)
    after = _counters(engine, home, processes)
    for pipe in pipes:
        pipe.send("stop")
    ends = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    engine.dispose()
    took = after["time"] - before["time"]
    per_second = {name: (after[name] - before[name]) / took for name in after}
    waits = [wait for end in ends for wait in end["idle"]]
    mean_wait = sum(waits) / max(1, len(waits))
    mean_trial = options.trial_seconds * 1.133  # of a lognormal with sigma 0.5 around its median
    return Row(
        workers=workers,
        trials=per_second["trials"],
        ideal=workers / mean_trial,
        idle=mean_wait / (mean_wait + mean_trial),
        server_cpu=per_second["server"],
        clients_cpu=per_second["clients"],
        connections=connections,
        commits=per_second["commits"],
        waiting=waiting,
        failed=sum(len(end["errors"]) for end in ends),
        why="; ".join(sorted({error for end in ends for error in end["errors"]}))[:200],
    )


def _hosts(pipe: Connection, url: str, count: int, home: str, options: dict[str, Any]) -> None:
    """One process of several hosts."""
    ThreadTrainer.trial_seconds = options["trial_seconds"]
    ThreadTrainer.idle = []
    parts.TrainerProcess = ThreadTrainer  # type: ignore[misc, assignment]
    errors: list[str] = []
    loops: list[Any] = []
    started = threading.Barrier(count + 1)

    def host() -> None:
        settings = Settings(Path(home), storage=url, checkpoint_dir=Path(home) / "checkpoints")
        try:
            one = Search.open(_found(options["sampler"]), RunOptions(worker=True, trainers=1, devices="cpu"), settings)
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
    for loop in loops:
        loop.interrupted = True
    for thread in threads:
        thread.join(60)
    pipe.send({"idle": ThreadTrainer.idle, "errors": errors})


def _found(sampler: str) -> FoundStudy:
    chosen = {"random": Random(), "tpe": TPE()}[sampler]
    study = replace(simulated.study, sampler=chosen, pruner=NoPruner(), epochs=EPOCHS)
    return FoundStudy(study, Path(simulated.__file__), ("",))


def _counters(engine: Engine, home: Path, processes: Sequence[Any]) -> dict[str, float]:
    postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    with engine.connect() as connection:
        trials = connection.execute(text("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")).scalar_one()
        commits = connection.execute(
            text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        ).scalar_one()
    clients = 0.0
    for process in processes:
        used = psutil.Process(process.pid).cpu_times()
        clients += used.user + used.system
    return {
        "time": time.monotonic(),
        "trials": trials,
        "commits": commits,
        "server": postgres_cpu(postmaster),
        "clients": clients,
    }


def _watch_connections(engine: Engine, seconds: float) -> tuple[int, float]:
    """The most connections seen, and how many waited for another's lock on average; this program's own not counted."""
    counts, until = [], time.monotonic() + seconds
    query = text(
        "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    while time.monotonic() < until:
        with engine.connect() as connection:
            counts.append(connection.execute(query).one())
        time.sleep(min(0.5, max(0.0, until - time.monotonic())))
    return max(count[0] for count in counts), sum(count[1] for count in counts) / len(counts)


def _print_head(url: str, options: argparse.Namespace) -> None:
    engine = open_engine(url)
    with engine.connect() as connection:
        version = connection.execute(text("SHOW server_version")).scalar_one()
    engine.dispose()
    print(
        f"sampler {options.sampler}, trials of {options.trial_seconds:g} s (median), {options.seconds:g} s measured, "
        f"{options.rounds} rounds;\nPostgreSQL {version} and all workers on this machine; CPU is of one core\n\n"
        "| workers | trials/s | without any wait | slot idle | server CPU | workers' CPU | connections | commits/s "
        "| waiting for a lock | failed |\n|---|---|---|---|---|---|---|---|---|---|"
    )


def _print_row(row: Row) -> None:
    print(
        f"| {row.workers} | {row.trials:.2f} | {row.ideal:.2f} | {row.idle:.1%} | {row.server_cpu:.0%} | "
        f"{row.clients_cpu:.0%} | {row.connections} | {row.commits:.0f} | {row.waiting:.1f} | "
        f"{' '.join([str(row.failed), row.why]).strip()} |",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured, after a warm-up")
    parser.add_argument("--trial-seconds", type=float, default=5.0, help="median")
    parser.add_argument("--sampler", choices=["random", "tpe"], default="random")
    parser.add_argument("--record", action="store_true", help="write records/DATE-scale.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
