"""Tables of a comparison of ways: regret over the budget with intervals, speed-up, worst task, decision time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from benchmarks.methods.problems import Reference
from benchmarks.methods.simulator import Run

__all__ = ["Runs", "print_figures"]

SPENT = (1, 2, 4, 5, 8, 12, 25, 50)
"""Where regret is read, in full trainings."""

COMPARED = 12.0
"""The budget at whose end stock's value is what the others have to reach."""


@dataclass(frozen=True)
class Runs:
    """runs: by way, task and seed."""

    references: dict[str, Reference]
    runs: dict[tuple[str, str, int], Run]

    @property
    def ways(self) -> list[str]:
        return list(dict.fromkeys(way for way, _, _ in self.runs))

    def of(self, way: str) -> dict[tuple[str, int], Run]:
        return {(task, seed): run for (name, task, seed), run in self.runs.items() if name == way}

    def regret(self, task: str, run: Run, spent: float) -> float:
        """1 before the first epoch's end, as it is for one who takes any configuration."""
        known, best = self.references[task], self._best(task)
        return min((best - run.best(spent)) / (best - known.typical), 2.0)

    def _best(self, task: str) -> float:
        found = (run.steps[-1][1] for (_, name, _), run in self.runs.items() if name == task and run.steps)
        return max(self.references[task].best, *found)


def print_figures(heading: str, runs: Runs, trainings: list[float]) -> None:
    """A table with a row for each way."""
    spent = [at for at in SPENT if at <= max(trainings)]
    print(f"\n{heading}: {len(runs.references)} tasks, {len(runs.runs) // len(runs.ways)} runs each")
    print(f"{'':<22}regret after {'   '.join(f'{at:>5}' for at in spent)} full trainings, ± at {spent[-1]}")
    print(f"{'':<22}speed-up median (interval), worst task | trials, full, failed | ms a decision, slowest")
    stock = runs.of(runs.ways[0])
    for way in runs.ways:
        mine = runs.of(way)
        regrets = {at: [runs.regret(task, run, at) for (task, _), run in mine.items()] for at in spent}
        cells = "   ".join(f"{fmean(regrets[at]):5.2f}" for at in spent)
        low, high = _interval(mine, regrets[spent[-1]], fmean)
        print(f"{way:<22}             {cells}   {low:.2f}..{high:.2f}")
        if max(trainings) >= COMPARED:
            print(f"{'':<22}{_speed(mine, stock, max(trainings))} | {_effort(list(mine.values()))}", flush=True)


def _speed(mine: dict[tuple[str, int], Run], stock: dict[tuple[str, int], Run], trainings: float) -> str:
    """Where a way never has stock's value, the whole budget counts: an upper bound of its speed-up."""
    ratios = {
        key: COMPARED / min(max(run.reached(stock[key].best(COMPARED)), 1e-6), trainings) for key, run in mine.items()
    }
    missed = sum(math.isinf(run.reached(stock[key].best(COMPARED))) for key, run in mine.items())
    by_task = {task: median(ratio for (name, _), ratio in ratios.items() if name == task) for task, _ in ratios}
    low, high = _interval(mine, list(ratios.values()), median)
    return (
        f"{median(ratios.values()):.2f}x ({low:.2f}..{high:.2f}), worst {min(by_task.values()):.2f}x, never in {missed}"
    )


def _effort(runs: list[Run]) -> str:
    decisions = sum(run.decisions for run in runs)
    each = 1e3 * sum(run.decision_seconds for run in runs) / decisions
    slowest = 1e3 * max(run.slowest_decision for run in runs)
    trials, full, failed = (fmean(getattr(run, name) for run in runs) for name in ("trials", "full", "failed"))
    return f"{trials:.0f}, {full:.1f}, {failed:.1f} | {each:.1f} ms, {slowest:.0f} ms"


def _interval(keys: dict[tuple[str, int], Run], values: list[float], centre: object) -> tuple[float, float]:
    """By bootstrap: tasks drawn with replacement, then a seed's run of each."""
    by_task: dict[str, list[float]] = {}
    for (task, _), value in zip(keys, values, strict=True):
        by_task.setdefault(task, []).append(value)
    draw = np.random.default_rng(0)
    groups = [np.array(group) for group in by_task.values()]
    statistic = np.mean if centre is fmean else np.median
    found = []
    for _ in range(1000):
        chosen = [groups[place] for place in draw.integers(len(groups), size=len(groups))]
        found.append(statistic(np.concatenate([group[draw.integers(len(group), size=len(group))] for group in chosen])))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
