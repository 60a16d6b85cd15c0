"""Does TPE find as good configurations when it is shown a part of the study? Regret on a simulated search.

    python -m benchmarks.bounded_tpe [--trials 1600] [--shown 100] [--seeds 12] [--record]

hpo shows TPE at most hpo.sampling.observations.MOST_OTHERS of the trials that are not among the best. Here both ways
search the same space with the same seeds, one of them with a bound so small that it shows as small a part in a search
of minutes. Regret is the best possible final value minus that of the best configuration found.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from unittest.mock import patch

import optuna
from optuna.trial import TrialState

from benchmarks import simulated
from benchmarks.recording import recorded
from hpo.sampling import choose
from hpo.sampling.distributions import suggest
from hpo.sampling.observations import TrialObservations
from hpo.search.open_study import directions_of
from hpo.storage.queries import Claim
from hpo.storage.study_cache import StudyCache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1600)
    parser.add_argument("--shown", type=int, default=100, help="trials that are not among the best, at most")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--record", action="store_true", help="write records/DATE-bounded_tpe.md")
    options = parser.parse_args()
    with recorded("bounded_tpe", "TPE shown a part of the study", options.record):
        print(f"regret after {options.trials} trials\n{'seed':>6}{'all shown':>12}{f'{options.shown} shown':>12}")
        found = []
        for seed in range(options.seeds):
            found.append([_regret(seed, options.trials, shown) for shown in (options.trials, options.shown)])
            print(f"{seed:>6}{found[-1][0]:>12.6f}{found[-1][1]:>12.6f}", flush=True)
        _sum_up(found)


def _sum_up(found: Sequence[Sequence[float]]) -> None:
    every, part = zip(*found, strict=True)
    better = sum(one < other for one, other in zip(part, every, strict=True))
    print(f"median{median(every):>12.6f}{median(part):>12.6f}   a part is better on {better} of {len(found)} seeds")


def _regret(seed: int, trials: int, shown: int) -> float:
    """Of a search that tells each trial before it asks for the next."""
    study = replace(simulated.study, seed=seed)
    cache = StudyCache(0, study.name, directions_of(study))
    with patch.object(choose, "TrialObservations", lambda *known: TrialObservations(*known, most_others=shown)):
        sampling = choose.Sampling(study, cache)
    best = 0.0
    for number in range(trials):
        cache.start(Claim(number, number, 1, None, True))
        view = optuna.Study(study_name=study.name, storage=cache, sampler=sampling.sampler(number))
        trial = optuna.trial.Trial(view, number)
        config = study.resolve(study.rows.sample(lambda name, row, trial=trial: suggest(trial, name, row)))
        cache.set_trial_state_values(number, TrialState.COMPLETE, [simulated.value(config, simulated.EPOCHS, number)])
        best = max(best, simulated.final(config))
    return simulated.BEST - best


if __name__ == "__main__":
    main()
