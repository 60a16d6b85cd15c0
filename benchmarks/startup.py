"""How long until hpo does something, and how much memory it holds.

    HPO_DATA_DIR=... python -m benchmarks.startup [--short] [--rounds 7]

Each command in turn with `python -c "import optuna"`, so that the ratio means something on a busy machine too. Then one
`hpo run` of mlp_mnist from nothing, database included: seconds from the start of the process to the first trial's
training and first epoch; and the memory of coordinator and trainer then (RSS counts shared libraries in each process,
PSS shares them out, USS is what the process alone holds).
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
from statistics import median
from typing import Any

import psutil

from benchmarks.metering import spread
from benchmarks.recording import recorded

AIMS = {"hpo --help": "0.3 s", "hpo best": "1.5 s"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="three rounds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--study", default="mlp_mnist")
    parser.add_argument("--record", action="store_true", help="write records/DATE-startup.md")
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        print(json.dumps(_probe(options.study)))
        return
    title = "Start and memory"
    with recorded("startup", title, options.record), tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as home:
        environ = {**os.environ, "HPO_HOME": home}
        _first_training(options.study, environ)
        _commands(3 if options.short else options.rounds, options.study, environ)


def _commands(rounds: int, study: str, environ: dict[str, str]) -> None:
    hpo = [sys.executable, "-m", "hpo"]
    commands = {
        "import optuna": [sys.executable, "-c", "import optuna"],
        "import torch": [sys.executable, "-c", "import torch"],
        "hpo --help": [*hpo, "--help"],
        "hpo best": [*hpo, "best", "--study", study],
    }
    # `hpo best` finds the server running, as it does beside a run.
    from hpo.settings import Settings
    from hpo.storage.embedded.embedded import embedded_url, leave_embedded

    home = Settings.read(environ).home
    embedded_url(home)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, env=environ, capture_output=True, check=name != "hpo best")
            seconds[name].append(time.perf_counter() - began)
    leave_embedded(home)
    print(f"\n{'seconds, median (lowest .. highest)':<38}{'/ import optuna':>38}{'aim':>10}")
    for name, all_rounds in seconds.items():
        warm = all_rounds[1:]
        ratios = [mine / base for mine, base in zip(warm, seconds["import optuna"][1:], strict=True)]
        print(f"{name:<16}{spread(warm, digits=2):>22}{spread(ratios, digits=2):>38}{AIMS.get(name, ''):>10}")


def _first_training(study: str, environ: dict[str, str]) -> None:
    runs: list[dict[str, Any]] = []
    for _ in range(2):  # the second on a machine as warm as it gets: files cached, data decoded, database made
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.startup", "--probe", "--study", study],
            env=environ,
            stdout=subprocess.PIPE,
            check=True,
        )
        runs.append(json.loads(done.stdout))
    for name, run in zip(("first", "second"), runs, strict=True):
        print(f"{name} `hpo run`: a trial trains after {run['training']:.1f} s, first epoch after {run['epoch']:.1f} s")
    print("aim: training within 10 s on a warm machine; coordinator < 150 MB without torch; trainer < 700 MB")
    for process, memory in runs[1]["memory"].items():
        print(f"{process:<14}" + "".join(f"{kind.upper()} {size / 2**20:6.0f} MB   " for kind, size in memory.items()))


def _probe(study: str) -> dict[str, Any]:
    """Run until an epoch is done, then stop as on Ctrl-C."""
    import hpo

    here = psutil.Process()
    seen: dict[str, Any] = {}

    def watch(snapshot: Any) -> None:
        if any(slot.state == "training" for slot in snapshot.slots):
            seen.setdefault("training", time.time() - here.create_time())
        if any(slot.epoch for slot in snapshot.slots) and "epoch" not in seen:
            seen["epoch"] = time.time() - here.create_time()
            seen["memory"] = {"coordinator": _memory(here)}
            trainers = [_memory(child) for child in here.children(recursive=True) if child.name().startswith("hpo ")]
            for kind in ("rss", "pss", "uss"):
                seen["memory"].setdefault("trainer", {})[kind] = median(trainer[kind] for trainer in trainers)
            seen["torch"] = "torch" in sys.modules
            os.kill(os.getpid(), signal.SIGINT)

    hpo.run(study, timeout="10m", on_snapshot=watch)
    assert not seen.pop("torch"), "the coordinator has loaded torch"
    return seen


def _memory(process: psutil.Process) -> dict[str, int]:
    full = process.memory_full_info()
    return {"rss": full.rss, "pss": full.pss, "uss": full.uss}


if __name__ == "__main__":
    main()
