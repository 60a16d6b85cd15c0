"""How many hosts one PostgreSQL serves: real storage threads, trials that only take time.

    python -m benchmarks.scale [--workers 64 256 512 1024] [--pooled 512 2048] [--seconds 20] [--whole] [--record]

A worker is a host with one slot, its storage thread and its connection; trial lengths are lognormal around the given
median, and a trial has five epochs. Light workers (benchmarks/light_workers.py) leave out what costs only the host, so
that a small machine can hold hundreds; `--whole` runs their loops and samplers, too. `--pooled`: so many workers reach
the server through PgBouncer and 40 connections.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL, make_url

from benchmarks.light_workers import light_workers
from benchmarks.metering import postgres_cpu
from benchmarks.pooling import pooled
from benchmarks.recording import recorded
from benchmarks.whole_workers import found, whole_workers
from hpo.search.code import code_facts
from hpo.search.open_study import OpenOptions, prepare_study
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.engine import open_engine

SPAWN = get_context("spawn")
WORKERS_PER_PROCESS = 128
WHOLE_PER_PROCESS = 32
TARGET = 10_000_000
POOL = 40
"""Connections of PgBouncer's to the server, as in docs/deploy.md."""
MEAN = 1.133
"""Of a lognormal with sigma 0.5, in medians."""


@dataclass(frozen=True)
class Row:
    """What W workers did in the measured window. Rates are per second; shares are of one CPU core.

    waited: share of a slot's time without a trial. ages: seconds from a claim elsewhere until its parameters are known
    """

    workers: int
    pooled: bool
    trials: float
    ideal: float
    waited: float
    server_cpu: float
    clients_cpu: float
    pooler_cpu: float
    connections: int
    commits: float
    locked: float
    ages: list[float]
    failed: int
    why: str


def main() -> None:
    options = _options()
    with recorded("scale", "Hosts on one PostgreSQL", options.record), tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            url = _server(home, connections=max([POOL, *options.workers]) + 50)
            _print_head(url, options)
            for turn in range(options.rounds):
                for workers in options.workers:
                    _print_row(_measure(url, home, f"scale{turn}_{workers}", workers, options))
                for workers in options.pooled:
                    with pooled(make_url(url), home, POOL, workers + 50) as (by, pooler):
                        _print_row(_measure(url, home, f"pooled{turn}_{workers}", workers, options, by, pooler))
        finally:
            leave_embedded(home)


def _server(home: Path, connections: int) -> str:
    """The server that comes with hpo, with its own settings but room for so many connections."""
    engine = open_engine(embedded_url(home))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER SYSTEM SET max_connections = {connections}"))
    engine.dispose()
    leave_embedded(home)
    return embedded_url(home)


def _measure(
    url: str,
    home: Path,
    database: str,
    workers: int,
    options: argparse.Namespace,
    by: URL | None = None,
    pooler: psutil.Process | None = None,
) -> Row:
    """One study of its own, `workers` coordinators on it: warm up, measure, stop. by: how they reach it, if not by
    `url`."""
    admin = open_engine(url)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {database}"))
    admin.dispose()
    direct = make_url(url).set(database=database)
    engine = open_engine(direct.render_as_string(hide_password=False), statement_seconds=300.0)
    prepare_study(engine, found(options.sampler), OpenOptions(trials_target=TARGET), code_facts())
    with engine.connect() as connection:
        study_id = connection.execute(text("SELECT study_id FROM studies")).scalar_one()
    reached = direct if by is None else by.set(database=database)
    processes, pipes = _start(reached.render_as_string(hide_password=False), study_id, workers, options)
    time.sleep(3 * options.trial_seconds)  # each connection makes its plans with its first trials
    for pipe in pipes:
        pipe.send("measure")
    before = _counters(engine, home, processes, pooler)
    connections, locked = _watch_connections(engine, options.seconds)
    after = _counters(engine, home, processes, pooler)
    for pipe in pipes:
        pipe.send("stop")
    ends = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    engine.dispose()
    took = after["time"] - before["time"]
    per_second = {name: (after[name] - before[name]) / took for name in after}
    mean_trial = options.trial_seconds * MEAN
    return Row(
        workers=workers,
        pooled=by is not None,
        trials=per_second["trials"],
        ideal=workers / mean_trial,
        waited=sum(wait for end in ends for wait in end["idle"]) / (workers * took),
        server_cpu=per_second["server"],
        clients_cpu=per_second["clients"],
        pooler_cpu=per_second["pooler"],
        connections=connections,
        commits=per_second["commits"],
        locked=locked,
        ages=sorted(age for end in ends for age in end["ages"]),
        failed=sum(len(end["errors"]) for end in ends),
        why="; ".join(sorted({error for end in ends for error in end["errors"]}))[:200],
    )


def _start(url: str, study_id: int, workers: int, options: argparse.Namespace) -> tuple[list[Any], list[Any]]:
    """Processes with so many workers, and a pipe to each, once all of them have begun."""
    per_process = WHOLE_PER_PROCESS if options.whole else WORKERS_PER_PROCESS
    processes, pipes = [], []
    for first in range(0, workers, per_process):
        share = min(per_process, workers - first)
        ours, theirs = SPAWN.Pipe()
        if options.whole:
            given: tuple[Any, ...] = (whole_workers, theirs, url, share, options.trial_seconds, options.sampler)
        else:
            given = (light_workers, theirs, url, study_id, share, options.trial_seconds)
        # Daemons: where a measurement fails, they end with this program instead of keeping it, and the machine, busy.
        processes.append(SPAWN.Process(target=given[0], args=given[1:], daemon=True))
        processes[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    return processes, pipes


def _counters(engine: Engine, home: Path, processes: Sequence[Any], pooler: psutil.Process | None) -> dict[str, float]:
    postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    with engine.connect() as connection:
        trials = connection.execute(text("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")).scalar_one()
        commits = connection.execute(
            text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        ).scalar_one()
    used = [psutil.Process(process.pid).cpu_times() for process in processes]
    pooling = [] if pooler is None else [pooler.cpu_times()]
    return {
        "time": time.monotonic(),
        "trials": trials,
        "commits": commits,
        "server": postgres_cpu(postmaster),
        "clients": sum(each.user + each.system for each in used),
        "pooler": sum(each.user + each.system for each in pooling),
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
        f"{'whole' if options.whole else 'light'} workers, trials of {options.trial_seconds:g} s (median), "
        f"{options.seconds:g} s measured, {options.rounds} rounds;\n"
        f"PostgreSQL {version} and all workers on this machine; CPU is of one core\n\n"
        "| workers | trials/s | without any wait | slots waited | server CPU a trial, ms | server CPU | workers' CPU "
        "| PgBouncer's CPU | connections | commits/s | waiting for a lock | news known after, s (median, 95 %) "
        "| failed |\n"
        f"{'|---' * 13}|"
    )


def _print_row(row: Row) -> None:
    ages = f"{median(row.ages):.1f}, {row.ages[int(len(row.ages) * 0.95)]:.1f}" if row.ages else "-"
    print(
        f"| {row.workers}{' by PgBouncer' if row.pooled else ''} | {row.trials:.2f} | {row.ideal:.2f} | "
        f"{row.waited:.1%} | "
        f"{row.server_cpu / max(row.trials, 1e-9) * 1000:.1f} | {row.server_cpu:.0%} | {row.clients_cpu:.0%} | "
        f"{row.pooler_cpu:.0%} | {row.connections} | {row.commits:.0f} | {row.locked:.1f} | {ages} | "
        f"{' '.join([str(row.failed), row.why]).strip()} |",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[64, 256, 512, 1024])
    parser.add_argument("--pooled", type=int, nargs="*", default=[512, 2048], help="workers that share 40 connections")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, after a warm-up")
    parser.add_argument("--trial-seconds", type=float, default=5.0, help="median")
    parser.add_argument("--whole", action="store_true", help="real loops and samplers, up to about 256")
    parser.add_argument("--sampler", choices=["random", "tpe"], default="random", help="of whole workers")
    parser.add_argument("--record", action="store_true", help="write records/DATE-scale.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
