"""What a search makes of what is known already: regret on the simulated space, against one that begins afresh.

    python -m benchmarks.earlier_knowledge [--short] [--seeds 20] [--trials 40] [--only believe]

evolve: a study of a narrower table (adam alone, a low learning rate, narrow layers) has run 40 trials; then its table
widens to the whole space, as `hpo run --evolve` does it, and a fresh start has the whole space from its first trial.

warm start: `warm_start=` names a study of the same table that has run 40 trials, of the same curves (good), of curves
whose ends say nothing of these (useless), or whose ends are in the opposite order (adversarial). Its best few come
first, after the baseline, which a fresh start has too.

believe: rows have a `prior=`, near the best value of each (good: off by a tenth of the range, at random), anywhere
(useless), or at its worst end (adversarial), with a confidence of 0.5 and of 0.9. TPE and median pruning, as above, and
FreezeThaw() with a budget of 12 full trainings, where the best is by all values seen.

Regret is BEST less the true end of the configuration with the best complete trial, of the study's own curves with their
noise. One slot, no database, in simulated time. Each seed draws the noise and the search of every way anew.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from benchmarks import simulated
from benchmarks.methods.problems import Simulated
from benchmarks.methods.setting import Setting
from benchmarks.methods.simulator import simulate
from benchmarks.methods.ways import Thawing
from benchmarks.recording import recorded
from benchmarks.search_quality import Ours
from hpo import Categorical, Float, Int, Prior, Study
from hpo.results.best import ranked
from hpo.sampling.distributions import distribution
from hpo.search.warm_start import chosen_from
from hpo.study.evolving import compared
from hpo.study.places import place_in, value_at
from hpo.study.space import Space

Seen = list[tuple[float, Mapping[str, Any]]]
"""The last value of each trial, and its configuration."""

NARROW = replace(
    simulated.study,
    space={
        **simulated.study.rows.rows,
        "hidden_units": Int(16, 128).per("layers"),
        "optimizer": Categorical("adam"),
        "lr": Float(1e-5, 3e-4, log=True),
        "momentum": 0.9,
    },
    baseline={**simulated.study.baseline, "lr": 1e-4},
)
"""Its best possible end is 0.01 below that of the whole space."""


def search(
    side: Ours,
    trials: int,
    seed: int,
    end: Callable[[Mapping[str, Any]], float] | None = None,
    queue: Sequence[Mapping[str, Any]] = (),
) -> Seen:
    """`trials` trials, one after the other, those in the `queue` first. end: where a curve really ends, if not as the
    simulated space has it."""
    seen: Seen = []
    for number in range(trials):
        each = side.ask(queue[number] if number < len(queue) else None)
        moved = (end(each.config) if end else simulated.final(each.config)) - simulated.final(each.config)
        state = TrialState.COMPLETE
        for epoch in range(1, simulated.EPOCHS + 1):
            value = simulated.value(each.config, epoch, seed * 100_003 + each.trial_id) + moved
            each.epoch, each.value = epoch, value
            if side.report(each) and epoch < simulated.EPOCHS:
                state = TrialState.PRUNED
                break
        side.tell(each, state)
        seen.append((each.value if state is TrialState.COMPLETE else -1.0, each.config))
    return seen


def regret(seen: Seen) -> float:
    """Of the one that its study would call the best."""
    return simulated.BEST - simulated.final(max(seen, key=lambda each: each[0])[1])


def evolved(side: Ours, study: Study) -> Ours:
    """A search of `study` that has the trials of `side`."""
    assert not compared(study, side.study.declaration()).lost
    after = Ours(study, 1)
    after.take_over(_rewritten(trial, study, side.study) for trial in side.trials())
    return after


def _rewritten(trial: FrozenTrial, study: Study, before: Study) -> FrozenTrial:
    """As hpo.search.evolve does it in the database."""
    fixed = before.rows.fixed
    drawn: dict[str, Any] = {}
    kinds = {}

    def given(name: str, row: Any) -> Any:
        drawn[name] = trial.params[name] if name in trial.params else fixed[name]
        kinds[name] = distribution(row)
        return drawn[name]

    study.rows.sample(given)
    trial.params, trial.distributions = drawn, kinds
    return trial


def evolve(trials: int, seeds: int, places: Sequence[int]) -> None:
    ways: dict[str, list[list[float]]] = {"fresh start": [], "evolved": []}
    for seed in range(seeds):
        narrow, whole = replace(NARROW, seed=seed), replace(simulated.study, seed=seed)
        fresh = search(Ours(whole, 1), max(places), seed)
        ways["fresh start"].append([regret(fresh[:place]) for place in places])
        side = Ours(narrow, 1)
        seen = search(side, trials, seed)
        seen += search(evolved(side, whole), max(places), seed)
        ways["evolved"].append([regret(seen[: trials + place]) for place in places])
    _show(f"evolve: after {trials} trials of a narrower table, and as many more of the whole one", ways, places)


def _end(kind: str, seed: int) -> Callable[[Mapping[str, Any]], float]:
    """Where the curves of the earlier study end."""
    if kind == "useless":
        return lambda config: random.Random(f"{seed} {sorted(config.items())}").uniform(0.5, simulated.BEST)
    if kind == "adversarial":
        return lambda config: 1.0 - simulated.final(config)
    return simulated.final


def warm(trials: int, seeds: int, places: Sequence[int]) -> None:
    ways: dict[str, list[list[float]]] = {name: [] for name in ("fresh start", "good", "useless", "adversarial")}
    for seed in range(seeds):
        study = replace(simulated.study, seed=seed)
        first = study.parameters(study.baseline, what="the baseline")
        for way, regrets in ways.items():
            queue = [first]
            if way != "fresh start":
                earlier = Ours(replace(study, seed=seed + 1000), 1)
                search(earlier, trials, seed + 1000, _end(way, seed))
                queue += chosen_from(ranked(earlier.trials(), ("maximize",)), study.rows).values()
            seen = search(Ours(study, 1), max(places), seed, queue=queue)
            regrets.append([regret(seen[:place]) for place in places])
    _show(f"warm start: after {trials} trials of an earlier study", ways, places)


WORST: Mapping[str, Any] = {
    "batch_size": 512, "layers": 2, "hidden_units": 16, "optimizer": "sgd", "lr": 1e-5, "momentum": 0.0,
    "weight_decay": 1e-2,
}  # fmt: skip
BEST_OF_ROWS: Mapping[str, Any] = {
    "batch_size": 32, "layers": 3, "hidden_units": 512, "optimizer": "adam", "lr": 10**-2.8, "momentum": 0.9,
    "weight_decay": 1e-4,
}  # fmt: skip


def with_beliefs(kind: str, confidence: float, seed: int) -> dict[str, Any]:
    """The rows of the simulated space with a belief each. kind: "good", "useless" or "adversarial" """
    draw = random.Random(f"beliefs {seed}")
    rows: dict[str, Any] = {}
    for name, row in simulated.study.rows.rows.items():
        believed = WORST[name] if kind == "adversarial" else BEST_OF_ROWS[name]
        if kind == "useless":
            believed = draw.choice(row.choices) if isinstance(row, Categorical) else value_at(row, draw.random())
        elif kind == "good" and not isinstance(row, Categorical):
            believed = value_at(row, min(max(place_in(row, believed) + draw.gauss(0.0, 0.1), 0.0), 1.0))
        rows[name] = (
            replace(row, prior=Prior(believed, confidence))
            if not isinstance(row, Categorical)
            else Categorical(*row.choices, prior=Prior(believed, confidence))
        )
    return rows


class _Believed(Simulated):
    def __init__(self, rows: Mapping[str, Any]) -> None:
        super().__init__()
        self.space = Space(rows)


def believe(trials: int, seeds: int, places: Sequence[int]) -> None:
    """`trials` of TPE with median pruning, and 12 full trainings of FreezeThaw."""
    ways = {"no belief": None, **{
        f"{kind}, {confidence}": (kind, confidence)
        for kind in ("good", "useless", "adversarial") for confidence in (0.5, 0.9)
    }}  # fmt: skip
    budgets = (2, 4, 8, 12)
    by_trials: dict[str, list[list[float]]] = {way: [] for way in ways}
    by_budget: dict[str, list[list[float]]] = {way: [] for way in ways}
    for seed in range(seeds):
        for way, believed in ways.items():
            rows = simulated.study.rows.rows if believed is None else with_beliefs(*believed, seed)
            study = replace(simulated.study, space=rows, seed=seed)
            seen = search(Ours(study, 1), max(places), seed, queue=[study.parameters(study.baseline, what="baseline")])
            by_trials[way].append([regret(seen[:place]) for place in places])
            problem = _Believed(rows)
            thawing = Thawing(Setting(problem, 1, seed))
            run = simulate(thawing, problem, slots=1, trainings=max(budgets), clock="epochs", seed=seed)
            by_budget[way].append([simulated.BEST - run.best(budget) for budget in budgets])
    _show("believe: TPE and median pruning", by_trials, places)
    _show("believe: FreezeThaw, by full trainings", by_budget, budgets, "trainings")


def _show(
    title: str, ways: Mapping[str, Sequence[Sequence[float]]], places: Sequence[int], unit: str = "trials"
) -> None:
    print(f"\n{title}: regret x 1000, mean ± standard error\n")
    print("| way | " + " | ".join(f"{place} {unit}" for place in places) + " |")
    print("|---|" + "---|" * len(places))
    for way, regrets in ways.items():
        print(f"| {way} | " + " | ".join(_summary([each[at] for each in regrets]) for at in range(len(places))) + " |")


def _summary(values: Sequence[float]) -> str:
    return f"{1e3 * statistics.fmean(values):.2f} ± {1e3 * statistics.stdev(values) / len(values) ** 0.5:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="3 seeds of 20 trials")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--only", choices=("evolve", "warm", "believe"), default="")
    parser.add_argument("--record", action="store_true", help="write records/DATE-earlier_knowledge.md")
    options = parser.parse_args()
    if options.short:
        options.seeds, options.trials = 3, 20
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    places = [max(1, options.trials * share // 4) for share in (1, 2, 4)]
    with recorded("earlier_knowledge", "What a search makes of what is known already", options.record):
        print(f"{options.seeds} seeds, one slot, the simulated space of 10 epochs, TPE and median pruning")
        for part in (evolve, warm, believe):
            if options.only in ("", part.__name__):
                part(options.trials, options.seeds, places)


if __name__ == "__main__":
    main()
