"""An Optuna objective under `study.optimize` and under hpo, on the same PostgreSQL, in one run.

    python -m benchmarks.objective [--trials 24] [--rounds 3] [--processes 1 2] [--record]

Each round gives both sides an empty database, and alternates which comes first: `stock` is study.optimize in one or two
processes with RDBStorage, `hpo` the same script with one or two trainers; same sampler, same pruner, one thread each.
A trial's waiting is its process's wall time less what the objective computes: from the end of the trial before to its
own end, without the time between calls to the trial. Trials per hour are those of each process from the end of its
first trial to the end of its last, added up: neither side's start counts; and likewise epochs, because the sides draw
other values, and so prune other trials. Then both are asked for suggestions, without
training: the round trip of one, and the same without the sampler's own time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy.engine import URL, make_url

from benchmarks.metering import Meter, SamplerClock, spread
from benchmarks.recording import recorded
from benchmarks.servers import database, in_child
from hpo.storage.embedded.embedded import embedded_url, leave_embedded

SCRIPT = Path(__file__).parent / "objective_script.py"
SPAWN = get_context("spawn")
Rows = dict[str, dict[str, list[float]]]


def main() -> None:
    options = _options()
    with recorded("objective", "An Optuna objective under study.optimize and under hpo", options.record):
        _compare_all(options)


def _compare_all(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        home = Path(folder)
        server = make_url(embedded_url(home))
        os.environ["OMP_NUM_THREADS"] = "1"  # as hpo's trainers have it
        try:
            for processes in options.processes:
                _compare(server, home, "objective", processes, options.trials, options.rounds)
            _compare(server, home, "asking", 1, options.trials, options.rounds)
        finally:
            leave_embedded(home)


def _compare(server: URL, home: Path, function: str, processes: int, trials: int, rounds: int) -> None:
    measured: Rows = {side: defaultdict(list) for side in ("stock", "hpo")}
    for number in range(rounds):
        for side in ("stock", "hpo") if number % 2 == 0 else ("hpo", "stock"):
            url = database(server, "round")
            os.environ["HPO_BENCHMARK_TIMES"] = times = tempfile.mkdtemp(dir=home)
            run = _stock if side == "stock" else _hpo
            row = run(url, function, processes, trials, home)
            for name, value in _figures(Path(times), row).items():
                measured[side][name].append(value)
    what = f"{processes} at a time" if function == "objective" else "suggestions only, 1 at a time"
    _print(what, trials, measured, SUGGESTING if function == "asking" else TRAINING)


# The sides ------------------------------------------------------------------------------------------------------------


def _hpo(url: str, function: str, processes: int, trials: int, home: Path) -> dict[str, Any]:
    row: dict[str, Any] = in_child(_hpo_side, url, function, processes, trials, home)
    return row


def _hpo_side(pipe: Connection, url: str, function: str, processes: int, trials: int, home: Path) -> dict[str, Any]:
    from hpo.search.options import RunOptions
    from hpo.search.search import Search
    from hpo.settings import Settings
    from hpo.storage.study_cache import StudyCache

    meter, clock = Meter(StudyCache), SamplerClock()
    search = Search.open(
        _found(function),
        RunOptions(trials=trials, trainers=processes, devices="cpu", on_notice=lambda text: None),
        Settings(home, storage=url, checkpoint_dir=home / "checkpoints"),
    )
    meter.start()
    search.loop.run()
    search.storage_thread.close(60.0)
    return {**meter.stop(), "clock": clock.seconds}


def _stock(url: str, function: str, processes: int, trials: int, home: Path) -> dict[str, Any]:
    in_child(_create, url, function)
    pipes = []
    for index in range(processes):
        ours, theirs = SPAWN.Pipe()
        share = trials // processes + (index < trials % processes)
        process = SPAWN.Process(target=_stock_side, args=(theirs, url, function, index, processes, share), daemon=True)
        process.start()
        theirs.close()
        pipes.append((ours, process))
    for pipe, _ in pipes:
        assert pipe.recv() == "ready"
    for pipe, _ in pipes:
        pipe.send("go")
    rows = [pipe.recv() for pipe, _ in pipes]
    for _, process in pipes:
        process.join()
    total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in ("statements", "transactions")}
    total["clock"] = {number: seconds for row in rows for number, seconds in row["clock"].items()}
    return total


def _create(pipe: Connection, url: str, function: str) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(study_name=function, storage=_stock_url(url), direction="minimize")


def _stock_side(pipe: Connection, url: str, function: str, index: int, processes: int, trials: int) -> None:
    import optuna

    from benchmarks import objective_script

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    meter, clock = Meter(optuna.storages._CachedStorage), SamplerClock()
    ours = _found(function).study
    study = optuna.load_study(
        study_name=function,
        storage=_stock_url(url),
        sampler=ours.sampler.build(ours.rows, seed=index),
        pruner=ours.pruner.build(ours.epochs, processes),
    )
    pipe.send("ready")
    pipe.recv()
    meter.start()
    study.optimize(getattr(objective_script, function), n_trials=trials)
    pipe.send({**meter.stop(), "clock": clock.seconds})


def _stock_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://")


def _found(function: str) -> Any:
    from hpo.study.discovery import find_study
    from hpo.study.objective_study import ObjectiveOptions

    return find_study(f"{SCRIPT}:{function}", ObjectiveOptions(("minimize",)))


# Figures --------------------------------------------------------------------------------------------------------------


def _figures(times: Path, row: dict[str, Any]) -> dict[str, float]:
    """What a round was like, from the lines that its trials wrote and what its coordinator or processes counted."""
    processes = [[json.loads(line) for line in file.read_text().splitlines()] for file in times.iterdir()]
    trials = [one for lines in processes for one in lines]
    rate, epochs, between, inside, suggesting = 0.0, 0.0, [], [], []
    for lines in processes:
        if len(lines) > 1:
            seconds = lines[-1]["ended"] - lines[0]["ended"]
            rate += (len(lines) - 1) / seconds
            epochs += sum(one["epochs"] for one in lines[1:]) / seconds
        for before, one in pairwise(lines):
            between.append(one["began"] - before["ended"])
            inside.append(one["inside"])
            suggesting.append(sum(one["suggestions"]))
    wait = (sum(between) + sum(inside)) / len(between)
    asked = [one for one in trials if one["suggestions"]]
    trips = [sum(one["suggestions"]) / len(one["suggestions"]) for one in asked]
    without = [
        (sum(one["suggestions"]) - row["clock"].get(one["number"], 0.0)) / len(one["suggestions"]) for one in asked
    ]
    return {
        "rate": 3600 * rate,
        "epoch_rate": 3600 * epochs,
        "cpu": sum(one["cpu"] for one in trials) / max(1, sum(one["epochs"] for one in trials)),
        "wait": wait,
        "between": sum(between) / len(between),
        "suggesting": sum(suggesting) / len(suggesting),
        "reporting": (sum(inside) - sum(suggesting)) / len(inside),
        "share": rate / len(processes) * wait,
        "epochs": sum(one["epochs"] for one in trials) / len(trials),
        "statements": row["statements"] / len(trials),
        "transactions": row["transactions"] / len(trials),
        "trip": median(trips),
        "bare": median(without),
        "trials": len(trials),
    }


TRAINING = (
    ("rate", "trials per hour", 1.0),
    ("epoch_rate", "epochs per hour", 1.0),
    ("cpu", "CPU, ms per epoch", 1e3),
    ("wait", "waiting, ms per trial", 1e3),
    ("between", "  between trials", 1e3),
    ("suggesting", "  for suggestions", 1e3),
    ("reporting", "  for reports and pruning", 1e3),
    ("share", "  as a part of the time, %", 1e2),
    ("epochs", "epochs per trial", 1.0),
    ("statements", "statements per trial", 1.0),
    ("transactions", "transactions per trial", 1.0),
)
SUGGESTING = (
    ("trip", "a suggestion, ms", 1e3),
    ("bare", "  without the sampler", 1e3),
    ("statements", "statements per trial", 1.0),
)


def _print(what: str, trials: int, measured: Rows, figures: tuple[tuple[str, str, float], ...]) -> None:
    print(f"\n{what}, {trials} trials a round: median (lowest .. highest)")
    print(f"{'':<28}{'study.optimize':>30}{'hpo':>30}   hpo/optimize")
    for name, label, unit in figures:
        stock, hpo = measured["stock"][name], measured["hpo"][name]
        digits = 0 if name.endswith("rate") else 3 if figures is SUGGESTING else 1
        ratio = median(hpo) / median(stock) if median(stock) else float("inf")
        print(f"{label:<28}{spread(stock, unit, digits):>30}{spread(hpo, unit, digits):>30}{ratio:>12.3f}x", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one round of few trials")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--record", action="store_true", help="write records/DATE-objective.md")
    options = parser.parse_args()
    if options.short:
        options.trials, options.rounds, options.processes = 8, 1, [1]
    return options


if __name__ == "__main__":
    main()
