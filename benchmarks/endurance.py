"""What grows while a search goes on: memory, files, connections, disk.

    HPO_DATA_DIR=... python -m benchmarks.endurance [--trials 3000] [--studies mlp_digits cnn_mnist] [--record]
    python -m benchmarks.endurance --history 10000 100000 1000000 [--studies mlp_digits] [--record]

Each study in turn, with random configurations of its table, so that every trial has another network; cnn_mnist on
--subset images. One `hpo.run` in a process of its own is looked at from outside whenever another tenth of the trials
has finished: resident memory of the coordinator and (the mean) of its trainers, their open files, sessions on the
database, bytes of the database and of HPO_HOME. A JSON line of everything follows each table. --history instead writes
so many finished trials into the tables and looks at opening such a study (long_history.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
from sqlalchemy import text
from sqlalchemy.engine import Engine

from benchmarks import long_history
from benchmarks.recording import recorded

POINTS = 10
SPARE = 50
"""Trials beyond the last look, for the trainers to be there when it comes."""
AIMS = (
    "aims, from the first tenth to the end: trainers grow less than 2 %, the coordinator at most 3 kB a finished trial"
)


@dataclass(frozen=True)
class Point:
    """What was seen when so many trials had finished. Sizes in bytes; files: of coordinator and trainers together."""

    trials: int
    seconds: float
    trainer: int
    coordinator: int
    files: int
    sessions: int
    database: int
    home: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--studies", nargs="+", default=["mlp_digits", "cnn_mnist"])
    parser.add_argument("--subset", type=int, default=1000, help="images of each MNIST study")
    parser.add_argument("--trainers", type=int, help="one per core by default")
    parser.add_argument(
        "--history", nargs="+", type=int, metavar="N", help="finished trials of a simulated past, growing"
    )
    parser.add_argument("--record", action="store_true", help="write records/DATE-endurance.md")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        long_history.open_and_ask(options.open)
        return
    if options.probe:
        _search(options.probe, options)
        return
    if options.history:
        with recorded("history", "A study of so many finished trials", options.record):
            for study in options.studies:
                long_history.measure(study, options.history)
        return
    with recorded("endurance", "What grows while a search goes on", options.record):
        print(AIMS)
        for study in options.studies:
            _show(study, _measure(study, options))


def _search(study: str, options: argparse.Namespace) -> None:
    """The search itself; a line on stdout whenever another tenth has finished, and one on stdin lets it go on."""
    import hpo
    from hpo.study.discovery import find_study

    found = find_study(study)
    subset = options.subset if "mnist" in study else None
    declared = replace(found.study, name=f"endurance_{study}", sampler=hpo.Random(), subset=subset)
    told = 0

    def watch(snapshot: Any) -> None:
        nonlocal told
        done = sum(snapshot.counts[state] for state in ("complete", "pruned", "failed"))
        if told < min(POINTS, done * POINTS // options.trials):
            told = done * POINTS // options.trials
            print(done, flush=True)
            sys.stdin.readline()

    limits: dict[str, Any] = {} if options.trainers is None else {"trainers": options.trainers}
    trials = options.trials + SPARE
    hpo.run(replace(found, study=declared), trials=trials, devices="cpu", on_snapshot=watch, **limits)


def _measure(study: str, options: argparse.Namespace) -> list[Point]:
    from hpo.settings import Settings
    from hpo.storage.embedded.embedded import embedded_url, leave_embedded
    from hpo.storage.engine import open_engine

    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        environ = dict(psutil.Process().environ(), HPO_HOME=folder)
        home = Settings.read(environ).home
        engine = open_engine(embedded_url(home))
        options_again = ["--trials", str(options.trials), "--subset", str(options.subset)]
        if options.trainers is not None:
            options_again += ["--trainers", str(options.trainers)]
        command = [sys.executable, "-m", "benchmarks.endurance", "--probe", study, *options_again]
        began, points = time.monotonic(), []
        with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            for line in run.stdout:
                points.append(_look(int(line), time.monotonic() - began, run.pid, engine, home))
                run.stdin.write("\n")
                run.stdin.flush()
        engine.dispose()
        leave_embedded(home)
    if run.returncode:
        sys.exit(f"the search ended with {run.returncode}")
    return points


def _look(trials: int, seconds: float, pid: int, engine: Engine, home: Path) -> Point:
    coordinator = psutil.Process(pid)
    trainers = [child for child in coordinator.children(recursive=True) if child.name().startswith("hpo ")]
    with engine.connect() as connection:
        sessions, database = connection.execute(
            text(
                "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND"
                " pid <> pg_backend_pid()), pg_database_size(current_database())"
            )
        ).one()
    return Point(
        trials=trials,
        seconds=round(seconds, 1),
        trainer=round(mean(trainer.memory_info().rss for trainer in trainers)),
        coordinator=coordinator.memory_info().rss,
        files=sum(process.num_fds() for process in (coordinator, *trainers)),
        sessions=sessions,
        database=database,
        home=sum(path.stat().st_size for path in home.rglob("*") if path.is_file()),
    )


def _show(study: str, points: list[Point]) -> None:
    print(f"\n{study}\n{'trials':>8}{'per hour':>10}{'trainer':>12}{'coordinator':>13}{'files':>7}{'sessions':>10}"
          f"{'database':>11}{'home':>11}")  # fmt: skip
    begun = (0, 0.0)
    for point in points:
        rate = (point.trials - begun[0]) / (point.seconds - begun[1]) * 3600
        begun = (point.trials, point.seconds)
        sizes = [f"{size / 1e6:.1f} MB" for size in (point.trainer, point.coordinator, point.database, point.home)]
        print(f"{point.trials:>8}{rate:>10.0f}{sizes[0]:>12}{sizes[1]:>13}"
              f"{point.files:>7}{point.sessions:>10}{sizes[2]:>11}{sizes[3]:>11}")  # fmt: skip
    first, last = points[0], points[-1]
    more = last.trials - first.trials
    print(f"trainer {last.trainer / first.trainer - 1:+.1%}; per finished trial: coordinator"
          f" {(last.coordinator - first.coordinator) / more / 1e3:+.1f} kB, database"
          f" {(last.database - first.database) / more / 1e3:+.1f} kB")  # fmt: skip
    print(json.dumps({"study": study, "points": [asdict(point) for point in points]}))


if __name__ == "__main__":
    main()
