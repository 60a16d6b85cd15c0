"""What everything around training costs one trial: hpo's coordinator against stock Optuna, same PostgreSQL, one run.

    python -m benchmarks.coordination [--short] [--finished 100 1000 10000] [--slots 1 8] [--trials 40] [--rounds 3]

Each round copies a database with so many finished trials and runs the same number of further trials both ways: `hpo`
(opening, storage thread, loop and real child processes that only pretend to train) and `stock` (RDBStorage; a process a
slot: ask, suggest, report, should_prune, tell; same sampler, same pruner, same pretended training).
Waiting is what a slot waits for anybody but itself: between trials, and while it reports.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy.engine import URL, make_url

from benchmarks import simulated
from benchmarks.metering import Meter, postgres_cpu, spread
from benchmarks.recording import recorded
from benchmarks.servers import child, database, in_child
from hpo.storage.embedded.embedded import embedded_url, leave_embedded

EPOCH_SECONDS = 0.1
SPAWN = get_context("spawn")


def main() -> None:
    options = _options()
    with recorded("coordination", "What everything around training costs a trial", options.record):
        _compare_all(options)


def _compare_all(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        home = Path(folder)
        server = make_url(embedded_url(home))
        try:
            for finished in options.finished:
                in_child(_fill, database(server, f"past{finished}"), finished, home)
            results = {
                (finished, slots): _compare(server, home, finished, slots, options)
                for finished in options.finished
                for slots in options.slots
            }
        finally:
            leave_embedded(home)
    _print_growth(results)


def _compare(
    server: URL, home: Path, finished: int, slots: int, options: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    measured: dict[str, dict[str, list[float]]] = {side: defaultdict(list) for side in ("stock", "hpo")}
    postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    trials = max(options.trials, 2 * slots)
    for round_number in range(options.rounds):
        order = ("stock", "hpo") if round_number % 2 == 0 else ("hpo", "stock")
        for side in order:
            url = database(server, "round", template=f"past{finished}")
            run = _stock_round if side == "stock" else _hpo_round
            row = run(url, slots, trials, finished, postmaster, home, options.epoch_seconds)
            for name, value in row.items():
                measured[side][name].append(value)
    _print_rows(finished, slots, trials, measured)
    return measured


# hpo ------------------------------------------------------------------------------------------------------------------


def _hpo_round(
    url: str, slots: int, trials: int, finished: int, postmaster: int, home: Path, epoch_seconds: float
) -> dict[str, float]:
    waits = Path(tempfile.mkdtemp(dir=home))
    before: list[float] = []
    row = in_child(
        _hpo_side, url, slots, finished + slots + trials, home, waits, epoch_seconds,
        at_start=lambda: before.append(postgres_cpu(postmaster)),
    )  # fmt: skip
    postgres = postgres_cpu(postmaster) - before[0]
    # The first wait of a slot is the start of its process; one trial each is not measured.
    waited = [sum(float(line) for line in file.read_text().split()[1:]) for file in waits.iterdir()]
    return _per_trial(row, postgres, sum(waited), trials)


def _hpo_side(
    pipe: Connection, url: str, slots: int, target: int, home: Path, waits: Path, epoch_seconds: float
) -> dict[str, float]:
    from hpo.search.options import RunOptions
    from hpo.search.search import Search
    from hpo.settings import Settings
    from hpo.storage.study_cache import StudyCache
    from hpo.study.discovery import FoundStudy

    os.environ |= {"HPO_BENCHMARK_WAITS": str(waits), "HPO_BENCHMARK_EPOCH_SECONDS": str(epoch_seconds)}
    trainer = (sys.executable, "-m", "benchmarks.fake_trainer")
    meter = Meter(StudyCache)
    told = 0

    def notice(text: str) -> None:
        """As for stock, the first trial of each slot is not measured: it brings a process to where it will stay."""
        nonlocal told
        told += text.startswith("trial ")
        if told == slots and text.startswith("trial "):
            pipe.send("start")
            meter.start()

    began = time.perf_counter()
    search = Search.open(
        FoundStudy(simulated.study, Path(simulated.__file__), ("",)),
        RunOptions(trials=target, trainers=slots, devices="cpu", on_notice=notice, trainer=trainer),
        Settings(home, storage=url, checkpoint_dir=home / "checkpoints"),
    )
    opening = time.perf_counter() - began
    search.loop.run()
    search.storage_thread.close(60.0)
    return meter.stop() | {"opening": opening}


# Stock Optuna ---------------------------------------------------------------------------------------------------------


def _stock_round(
    url: str, slots: int, trials: int, finished: int, postmaster: int, home: Path, epoch_seconds: float
) -> dict[str, float]:
    pipes = []
    for slot in range(slots):
        ours, theirs = SPAWN.Pipe()
        share = trials // slots + (slot < trials % slots)
        process = SPAWN.Process(
            target=child, args=(theirs, _stock_side, url, slot, slots, share, epoch_seconds), daemon=True
        )
        process.start()
        theirs.close()
        pipes.append((ours, process))
    for pipe, _ in pipes:
        assert pipe.recv() == "start"
    postgres = postgres_cpu(postmaster)
    for pipe, _ in pipes:
        pipe.send("go")
    rows = [pipe.recv() for pipe, _ in pipes]
    postgres = postgres_cpu(postmaster) - postgres
    for _, process in pipes:
        process.join()
    total = {name: sum(row[name] for row in rows) for name in rows[0]}
    total |= {name: max(row[name] for row in rows) for name in ("wall", "opening")}
    return _per_trial(total, postgres, total.pop("waited"), trials)


def _stock_side(
    pipe: Connection, url: str, slot: int, slots: int, trials: int, epoch_seconds: float
) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    meter = Meter(optuna.storages._CachedStorage)
    study = optuna.load_study(
        study_name=simulated.study.name,
        storage=url.replace("postgresql://", "postgresql+psycopg2://"),
        sampler=simulated.study.sampler.build(simulated.study.rows, seed=slot),
        pruner=simulated.study.pruner.build(simulated.EPOCHS, slots),
    )
    began = time.perf_counter()
    _stock_trial(study, 0.0)  # reads the study, as opening does for hpo
    opening = time.perf_counter() - began
    pipe.send("start")
    pipe.recv()
    meter.start()
    waited = sum(_stock_trial(study, epoch_seconds) for _ in range(trials))
    return meter.stop() | {"waited": waited, "opening": opening}


def _stock_trial(study: Any, epoch_seconds: float) -> float:
    """One trial; seconds spent with Optuna."""
    from optuna.trial import TrialState

    from hpo.sampling.distributions import suggest

    began, trained = time.perf_counter(), 0.0
    trial = study.ask()
    config = simulated.study.rows.sample(lambda name, row: suggest(trial, name, row))
    for epoch in range(1, simulated.EPOCHS + 1):
        paused = time.perf_counter()
        time.sleep(epoch_seconds)
        value = simulated.value(config, epoch, trial.number)
        trained += time.perf_counter() - paused
        trial.report(value, epoch)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            break
    else:
        study.tell(trial, value)
    return time.perf_counter() - began - trained


# Both -----------------------------------------------------------------------------------------------------------------


def _per_trial(row: dict[str, float], postgres: float, waited: float, trials: int) -> dict[str, float]:
    cpu = row["cpu"] + postgres
    return {
        "wait": waited / trials,
        "cpu": cpu / trials,
        "sampler": row["sampler"] / trials,
        "rest": (cpu - row["sampler"]) / trials,
        "postgres": postgres / trials,
        "statements": row["statements"] / trials,
        "transactions": row["transactions"] / trials,
        "opening": row["opening"],
        "wall": row["wall"],
    }


ROWS = (
    ("wait", "device waits, ms per trial", 1e3),
    ("cpu", "CPU, ms per trial", 1e3),
    ("sampler", "  of which the sampler", 1e3),
    ("postgres", "  of which PostgreSQL", 1e3),
    ("rest", "  without the sampler", 1e3),
    ("statements", "statements per trial", 1.0),
    ("transactions", "transactions per trial", 1.0),
    ("wall", "wall clock of the round, s", 1.0),
    ("opening", "opening, s (once)", 1.0),
)


def _print_rows(finished: int, slots: int, trials: int, measured: dict[str, dict[str, list[float]]]) -> None:
    print(
        f"\n{finished} finished trials, {slots} at a time, {trials} further trials a round: median (lowest .. highest)"
    )
    print(f"{'':<28}{'stock':>28}{'hpo':>28}   stock/hpo")
    for name, label, unit in ROWS:
        stock, hpo = measured["stock"][name], measured["hpo"][name]
        ratio = median(stock) / median(hpo) if median(hpo) else float("inf")
        print(f"{label:<28}{spread(stock, unit):>28}{spread(hpo, unit):>28}{ratio:>10.1f}x", flush=True)


def _print_growth(results: dict[tuple[int, int], dict[str, dict[str, list[float]]]]) -> None:
    for slots in sorted({slots for _, slots in results}):
        if (1000, slots) in results and (10000, slots) in results:
            for side in ("stock", "hpo"):
                small, large = (median(results[count, slots][side]["rest"]) for count in (1000, 10000))
                growth = f"{large / small:.2f}x from 1,000 to 10,000 finished trials"
                print(f"{side}, {slots} at a time: CPU without the sampler grows {growth}")


def _fill(pipe: Connection, url: str, finished: int, home: Path) -> None:
    """A study opened by hpo, with `finished` trials drawn at random and their curves."""
    from benchmarks.histories import fill

    fill(url, finished, home)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one round of few trials at 1,000 finished trials")
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--trials", type=int, default=40, help="further trials in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epoch-seconds", type=float, default=EPOCH_SECONDS)
    parser.add_argument("--record", action="store_true", help="write records/DATE-coordination.md")
    options = parser.parse_args()
    if options.short:
        options.finished, options.trials, options.rounds, options.epoch_seconds = [1000], 10, 1, 0.05
    return options


if __name__ == "__main__":
    main()
