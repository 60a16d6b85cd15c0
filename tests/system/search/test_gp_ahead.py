"""A Gaussian process draws ahead what stock Optuna suggests. Here because it has torch start a process."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hpo import GP, NoPruner, Objective, Study
from hpo.search.ask_tell import AskTell
from hpo.seeds import sampler_seed
from hpo.storage.claims import Claim
from hpo.storage.study_cache import StudyCache

SPACE = {"x": FloatDistribution(0.0, 1.0), "n": IntDistribution(1, 8)}


def test_a_gaussian_process_draws_ahead_what_stock_optuna_suggests() -> None:
    sampler = GP(startup_trials=4)
    own = Objective("train:objective", direction="minimize")
    study = Study(name="own", objective=own, sampler=sampler, pruner=NoPruner())
    cache = StudyCache(1, "own", [optuna.study.StudyDirection.MINIMIZE])
    ours = AskTell(study, 1, cache, Path("checkpoints"), "host", workers=1)
    theirs = optuna.create_study(direction="minimize")
    for number in range(7):
        trial = ours.sample(Claim(trial_id=number, number=number, attempt=1, checkpoint=None, fresh=True))
        ahead = ours.foresee(trial, SPACE)
        assert {name: ours.suggest(trial, name, kind) for name, kind in SPACE.items()} == ahead
        ours.tell(number, TrialState.COMPLETE, [(ahead["x"] - 0.3) ** 2 + ahead["n"]], {}, {})
        theirs.sampler = sampler.build(study.rows, sampler_seed(0, number))
        stock = theirs.ask()
        theirs.tell(stock, (stock.suggest_float("x", 0.0, 1.0) - 0.3) ** 2 + stock.suggest_int("n", 1, 8))
    assert [trial.params for trial in ours.trials()] == [trial.params for trial in theirs.trials]
