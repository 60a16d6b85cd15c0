"""The search itself, on the whole machine: how long until a trial reaches a given validation accuracy on real MNIST.

    HPO_DATA_DIR=... python -m benchmarks.search [--short] [--study cnn_mnist] [--target 0.990] [--seeds 5]
    HPO_DATA_DIR=... python -m benchmarks.search --headline [--minutes 30]

`script` is the search as people write it: optuna.create_study, an objective with a TensorDataset, a DataLoader and
`.item()` each step, study.optimize(n_jobs=1), torch's default threads. `two scripts` is two processes of it on one
PostgreSQL, one thread each (with default threads they are far slower still). `averaging script` is `script` for one who
knows that the average of the weights is the better network, as hpo's study does (torch's AveragedModel). All use the
study's space, validation images, epochs, early stopping, sampler and pruner, and begin with its baseline.

--headline runs each MNIST study with `hpo run` for half an hour, evaluates the winner on the test split with
`hpo evaluate`, and prints it beside what three hours without a GPU gave the report this project starts from.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import optuna
from sqlalchemy.engine import make_url

from benchmarks.metering import spread
from benchmarks.recording import recorded
from hpo.storage.embedded.embedded import embedded_url, leave_embedded

TARGETS = {"mlp_mnist": 0.983, "cnn_mnist": 0.990}
WAYS = ("hpo", "script", "two scripts", "averaging script")
HEADLINES = {"shallow_mnist": "98.78 %", "mlp_mnist": "98.69 % (133 trials)", "cnn_mnist": "99.17 % (956 trials)"}


def main() -> None:
    options = _options()
    name, title = (
        ("headline", "Half an hour of each MNIST study") if options.headline else ("search", "Time to accuracy")
    )
    with recorded(name, title, options.record):
        if options.headline:
            for study in options.study or HEADLINES:
                _headline(study, HEADLINES[study], options.minutes)
        else:
            _race_all(options)


def _race_all(options: argparse.Namespace) -> None:
    for study, target in ((name, options.target or TARGETS[name]) for name in options.study):
        seconds: dict[str, list[float]] = {way: [] for way in options.ways}
        for seed in range(options.seeds):
            # Alternating, and beginning with another way each time.
            start = seed % len(options.ways)
            for way in (*options.ways[start:], *options.ways[:start]):
                seconds[way].append(_until(way, study, target, seed, options.limit))
                print(f"  {study} seed {seed} {way}: {seconds[way][-1]:.1f} s", file=sys.stderr, flush=True)
        _print(study, target, seconds, options.limit)


def _print(study: str, target: float, seconds: dict[str, list[float]], limit: float) -> None:
    print(f"\n{study}: seconds until a trial has {target:.3f} validation accuracy, {len(seconds['hpo'])} seeds")
    for way, times in seconds.items():
        missed = sum(value >= limit for value in times)
        note = f", {missed} not within {limit:.0f} s" if missed else ""
        least = "at least " if median(times) >= limit else ""
        print(f"{way:<17}{spread(times):>28}   {least}{median(times) / median(seconds['hpo']):.1f}x{note}", flush=True)


def _until(way: str, study: str, target: float, seed: int, limit: float) -> float:
    """Seconds from the start of the first process; `limit` if the target was not reached."""
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        home = Path(folder)
        environ = {**os.environ, "HPO_HOME": folder}
        if way == "hpo":
            command = [sys.executable, "-m", "benchmarks.search_hpo", study, str(seed), str(target)]
            return _race([command], environ, limit)
        script = [sys.executable, "-m", "benchmarks.search_script", study, str(seed), str(target)]
        if way != "two scripts":
            return _race([script], environ | ({"AVERAGING": "1"} if way == "averaging script" else {}), limit)
        url = make_url(embedded_url(home))
        try:
            storage = url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
            # Its tables: two that make them at the same instant crash (optuna #1092).
            optuna.storages.RDBStorage(storage)
            return _race([[*script, storage], [*script, storage]], {**environ, "OMP_NUM_THREADS": "1"}, limit)
        finally:
            leave_embedded(home)


def _race(commands: list[list[str]], environ: dict[str, str], limit: float) -> float:
    """Seconds until the first of the processes ends by itself: each does when it sees the target reached."""
    began = time.perf_counter()
    running = []
    complaints = (Path(environ["HPO_HOME"]) / "complaints").open("w+")
    for command in commands:
        running.append(subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=complaints))
    try:
        while time.perf_counter() - began < limit:
            if any(process.poll() is not None for process in running):
                if any(process.poll() not in (None, 0) for process in running):
                    raise RuntimeError(Path(complaints.name).read_text())
                return time.perf_counter() - began
            time.sleep(0.02)
        return limit
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _headline(study: str, theirs: str, minutes: float) -> None:
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as folder:
        environ = {**os.environ, "HPO_HOME": folder}
        hpo = [sys.executable, "-m", "hpo"]

        def call(command: list[str]) -> str:
            return subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout

        call([*hpo, "run", "--study", study, "--timeout", f"{minutes:g}m", "--quiet"])
        status = json.loads(call([*hpo, "status", "--study", study, "--json"]))
        evaluated = json.loads(call([*hpo, "evaluate", "--study", study, "--out", f"{folder}/report", "--json"]))
    print(f"\n{study}: {minutes:g} minutes here against three hours: {theirs}")
    best = status["best"]
    print(f"  trials {status['counts']}, best validation accuracy {best['value']:.4f} {best['params']}")
    for row in evaluated["configurations"]:
        test, found = row["test_accuracy"], row["search_val_accuracy"]
        interval = f"{test['low']:.4f} to {test['high']:.4f}" if test["low"] is not None else "one run"
        print(f"  {row['name']:<20} test accuracy {test['mean']:.4f} ({interval}), in the search {found}")
    print(f"  {evaluated['verdict']['sentence']}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one seed of cnn_mnist to 0.970, two minutes at most each")
    parser.add_argument("--study", nargs="+", choices=list(HEADLINES), help="without it: all")
    parser.add_argument("--target", type=float, help="validation accuracy instead of the study's own")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, metavar="WAY", help="of " + ", ".join(WAYS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which a way has not reached it")
    parser.add_argument("--headline", action="store_true")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--record", action="store_true", help="write records/DATE-search.md")
    options = parser.parse_args()
    if "hpo" not in options.ways:
        parser.error("--ways needs hpo: the others are compared with it")
    if options.short:
        options.study, options.target, options.seeds, options.limit = ["cnn_mnist"], 0.970, 1, 120.0
    if not options.headline:
        options.study = options.study or list(TARGETS)
        if options.target is None and not set(options.study) <= set(TARGETS):
            parser.error("--study shallow_mnist needs a --target")
    return options


if __name__ == "__main__":
    main()
