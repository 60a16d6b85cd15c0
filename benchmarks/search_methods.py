"""Which way of searching finds good configurations soonest? Regret over a budget, on curves known without training.

    HPO_LCBENCH=... python -m benchmarks.search_methods --short            minutes
    HPO_LCBENCH=... python -m benchmarks.search_methods --record           hours; --keep FILE: goes on where it stopped
    python -m benchmarks.search_methods --tasks simulated --ways random "TPE + median" --slots 4 --trainings 12

The sticks: LCBench by its surrogate (benchmarks/methods/lcbench.py; `develop` are its tasks at even places, on which
hpo's way is tuned, `test` those at odd ones), the simulated space of benchmarks/simulated.py, with and without
configurations that run out of memory, and `recorded`, the curves that benchmarks.record_curves kept (HPO_CURVES). A
budget is counted in full trainings, all slots together: in epochs, or in seconds of the curves.

Regret is that of the configuration that looks best, by its value without noise. It is 0 at the best value of 4,000
random configurations and of all runs printed, 1 at the median random configuration's best. The speed-up of a way is how
many times less of the budget it took to the value that stock Optuna (TPE + median) has after 12 full trainings; of
stock itself, how long it already had it. Intervals are 95 %, by bootstrap over tasks and seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna

from benchmarks.methods.figures import Runs, print_figures
from benchmarks.methods.lcbench import lcbench_tasks
from benchmarks.methods.peers import ABSENT
from benchmarks.methods.problems import Problem, Simulated
from benchmarks.methods.recorded import recorded_problems
from benchmarks.methods.setting import Setting
from benchmarks.methods.simulator import Run, simulate
from benchmarks.methods.ways import WAYS
from benchmarks.recording import recorded

STICKS = ("develop", "test", "simulated", "recorded")


def main() -> None:
    options = _options()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problems = {stick: _problems(stick, options.only) for stick in options.tasks}
    with recorded("search_methods", "Ways of searching on known learning curves", options.record):
        for clock, slots in itertools.product(options.clocks, options.slots):
            for stick, tasks in problems.items():
                runs = Runs(
                    {problem.name: problem.reference for problem in tasks},
                    dict(_runs(options, tasks, slots, clock)),
                )
                print_figures(f"{stick}, {slots} slots, budget in {clock}", runs, options.trainings)


def _runs(
    options: argparse.Namespace, problems: list[Problem], slots: int, clock: str
) -> Iterator[tuple[tuple[str, str, int], Run]]:
    """(way, task, seed) and its run, for all of them: those kept in the file, and the rest, one after the other."""
    kept = _kept(options.keep)
    for problem, seed, way in itertools.product(problems, range(options.seeds), options.ways):
        key = json.dumps([way, problem.name, seed, slots, clock, max(options.trainings)])
        if key not in kept:
            setting = Setting(problem, slots, seed)
            run = simulate(
                WAYS[way](setting), problem, slots=slots, trainings=max(options.trainings), clock=clock, seed=seed
            )
            kept[key] = run
            if options.keep:
                with options.keep.open("a") as file:
                    file.write(json.dumps([key, run.to_json()]) + "\n")
            print(f"  {key} {run.steps[-1:]} {run.decision_seconds:.1f} s", file=sys.stderr, flush=True)
        yield (way, problem.name, seed), kept[key]


def _kept(path: Path | None) -> dict[str, Run]:
    if path is None or not path.exists():
        return {}
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {key: Run(**{**run, "steps": [tuple(step) for step in run["steps"]]}) for key, run in lines}


def _problems(stick: str, only: int | None) -> list[Problem]:
    if stick == "simulated":
        return [Simulated(), Simulated(memory=True)][:only]
    if stick == "recorded":
        return list(recorded_problems())[:only]
    return list(lcbench_tasks(stick))[:only]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="3 tasks, 2 seeds, 1 and 4 slots, 12 full trainings")
    parser.add_argument("--tasks", nargs="+", choices=STICKS, help="all for which there are data")
    parser.add_argument("--only", type=int, metavar="N", help="the first N problems of each stick")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY",
                        help="of " + ", ".join(WAYS))  # fmt: skip
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--trainings", type=float, nargs="+", default=[5, 12, 50], help="budgets in full trainings")
    parser.add_argument("--clocks", nargs="+", choices=["epochs", "seconds"], default=["epochs", "seconds"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where runs are kept, and not done again")
    parser.add_argument("--record", action="store_true", help="write records/DATE-search_methods.md")
    options = parser.parse_args()
    needs = {"develop": "HPO_LCBENCH", "test": "HPO_LCBENCH", "recorded": "HPO_CURVES"}
    there = [stick for stick in STICKS if needs.get(stick, "PATH") in os.environ]
    for stick in options.tasks or STICKS:
        if stick not in there:
            what = f"{stick} needs {needs[stick]} (benchmarks/methods says what it names)"
            parser.error(what) if options.tasks else print(f"{what}: left out", file=sys.stderr)
    options.tasks = options.tasks or there
    for name, how in ABSENT.items():
        print(f"{name} is left out: not installed ({how})", file=sys.stderr)
    if options.short:
        options.only, options.seeds, options.slots, options.trainings = 3, 2, [1, 4], [5, 12]
    return options


if __name__ == "__main__":
    main()
