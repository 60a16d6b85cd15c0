"""Does a search find more if it spends the end of its budget on training its leaders again, with fresh seeds?

    python -m benchmarks.confirming [--short] [--seeds 20] [--record]

FreezeThaw on the simulated space with one slot and 12 full trainings. Two trainings of one configuration differ by a
normal variable over their whole curves (its standard deviation is the noise between seeds), and each epoch by a third
of it. `all on the search` takes the configuration with the best value seen; the others stop earlier, and train
the leaders (of those with the best values, each to its end) again, and take the best mean of full trainings.

Regret is BEST less the winner's true end; a winner is not below the baseline where its true end is not.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks import simulated
from benchmarks.methods.problems import Curve, Simulated
from benchmarks.methods.setting import Setting
from benchmarks.methods.simulator import simulate
from benchmarks.methods.ways import Thawing
from benchmarks.recording import recorded

TRAININGS = 12
EVERY_WAY = {
    "all on the search": (0, 0),
    "2 leaders once": (2, 1),
    "2 leaders twice": (2, 2),
    "3 leaders twice": (3, 2),
}
"""How many leaders are trained again, and how often."""


class Noisy(Simulated):
    """Its reference is not used here."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self._noise = noise
        self.seen: dict[int, tuple[Mapping[str, Any], Curve]] = {}

    def curve(self, config: Mapping[str, Any], seed: int) -> Curve:
        found = super().curve(config, seed)
        draw = random.Random(f"seed {seed}")
        moved = draw.gauss(0.0, self._noise)
        values = tuple(true + moved + draw.gauss(0.0, self._noise / 3.0) for true in found.true)
        self.seen[seed] = config, Curve(values, found.true, found.seconds)
        return self.seen[seed][1]


def winner(noise: float, seed: int, leaders: int, again: int) -> Mapping[str, Any]:
    """The configuration that a search, and the trainings after it, end with."""
    problem = Noisy(noise)
    way = Thawing(Setting(problem, 1, seed))
    simulate(way, problem, slots=1, trainings=TRAININGS - leaders * again, clock="epochs", seed=seed)
    trials = way.standing()
    best_first = sorted(trials, key=lambda number: -max(trials[number]))
    configs = [problem.seen[seed * 100_003 + number][0] for number in best_first]
    if not leaders:
        return configs[0]
    means = []
    for place in range(min(leaders, len(configs))):
        # What of its first training is left comes out of the search's budget here: the first value is that of its end.
        curves = [problem.curve(configs[place], seed * 100_003 + best_first[place])]
        curves += [problem.curve(configs[place], 7_000_000 + seed * 1009 + place * 31 + run) for run in range(again)]
        means.append(statistics.fmean(curve.values[-1] for curve in curves))
    return configs[max(range(len(means)), key=means.__getitem__)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="5 seeds")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--record", action="store_true", help="write records/DATE-confirming.md")
    options = parser.parse_args()
    seeds = 5 if options.short else options.seeds
    baseline = simulated.final(simulated.study.baseline)
    with recorded("confirming", "The end of a budget spent on the leaders again", options.record):
        print(
            f"{seeds} seeds, one slot, {TRAININGS} full trainings: regret x 1000 ± standard error; not below baseline"
        )
        for noise in (0.001, 0.005, 0.02):
            print(f"\nnoise between seeds {noise} (the baseline's regret is {1e3 * (simulated.BEST - baseline):.1f})\n")
            for way, (leaders, again) in EVERY_WAY.items():
                ends = [simulated.final(winner(noise, seed, leaders, again)) for seed in range(seeds)]
                regrets = [1e3 * (simulated.BEST - end) for end in ends]
                error = statistics.stdev(regrets) / len(regrets) ** 0.5
                kept = sum(end >= baseline for end in ends)
                print(f"| {way} | {statistics.fmean(regrets):.1f} ± {error:.1f} | {kept} of {seeds} |", flush=True)


if __name__ == "__main__":
    main()
