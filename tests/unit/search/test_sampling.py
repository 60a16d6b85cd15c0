"""Columns and cut-offs: the shortcuts of sampling and pruning change no proposal and no decision."""

from __future__ import annotations

import math
import random
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo import TPE, Categorical, CmaEs, Float, Int, MedianPruner, PercentilePruner, Study
from hpo.sampling.choose import Sampling
from hpo.sampling.cma_es import TrialsCmaEs
from hpo.sampling.distributions import distribution, suggest
from hpo.sampling.pruning import make_pruner
from hpo.seeds import sampler_seed
from hpo.storage.optuna_internals import constraint_key
from hpo.storage.queries import Claim
from hpo.storage.study_cache import StudyCache

BASELINE = {
    "batch_size": 64,
    "layers": 1,
    "hidden_units": [32],
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 1e-4,
}


def make_study(direction: str = "maximize", **changes: Any) -> Study:
    """Five shared rows, two conditional ones, one per layer: what TPE samples together and what it samples alone."""
    fields: dict[str, Any] = {
        "name": "s",
        "dataset": "digits",
        "model": "mlp",
        "space": {
            "batch_size": Int(3, 100),
            "layers": Int(1, 3),
            "hidden_units": Int(8, 64, step=8).per("layers"),
            "optimizer": Categorical("adam", "sgd"),
            "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
            "weight_decay": Float(1e-6, 1e-2, log=True).when(optimizer="adam"),
            "lr": Float(1e-5, 1e-1, log=True),
        },
        "baseline": BASELINE,
        "epochs": 9,
        "objective": "val_accuracy" if direction == "maximize" else "val_loss",
        "sampler": TPE(startup_trials=5),
    }
    return Study(**(fields | changes))


def past_trial(study: Study, rng: random.Random, number: int) -> FrozenTrial:
    """A finished trial of any kind: ties, violated constraints, pruned at once or with NaN, failed."""
    params: dict[str, Any] = {}
    distributions = {}

    def draw(name: str, row: Any) -> Any:
        params[name] = rng.choice([*row.ends(), *row.ends()[:1]])
        distributions[name] = distribution(row)
        return params[name]

    study.rows.sample(draw)
    state = rng.choice([TrialState.COMPLETE] * 4 + [TrialState.PRUNED] * 3 + [TrialState.FAIL])
    reports = {epoch: rng.choice([0.1, 0.2, rng.random()]) for epoch in range(1, rng.randint(1, 9))}
    if state == TrialState.PRUNED and rng.random() < 0.2:
        reports[9] = math.nan
    attrs = {constraint_key("memory"): rng.choice([-1.0, 0.5, 1.0])} if rng.random() < 0.2 else {}
    trial = create_trial(
        state=state,
        value=rng.choice([0.25, 0.5, rng.random()]) if state == TrialState.COMPLETE else None,
        params=params,
        distributions=distributions,
        intermediate_values=reports,
        system_attrs=attrs,
    )
    trial.number = number
    trial._trial_id = number
    return trial


class Pair:
    """The same history in a cache and in stock Optuna's memory."""

    def __init__(self, study: Study, trials: int, seed: int = 0) -> None:
        self.study = study
        direction = StudyDirection[study.directions[0].upper()]
        self.cache = StudyCache(0, study.name, (direction,))
        self.stock = InMemoryStorage()
        self.stock.create_new_study([direction], study.name)
        rng = random.Random(seed)
        for number in range(trials):
            self.add(past_trial(study, rng, number))

    def add(self, trial: FrozenTrial) -> None:
        self.stock.create_new_trial(0, trial)
        self.cache.apply([trial])

    def start(self) -> int:
        trial_id = self.stock.create_new_trial(0)
        self.cache.start(Claim(trial_id, trial_id, 1, None, True))
        return trial_id

    def propose(self, storage: Any, trial_id: int, sampler: Any) -> dict[str, Any]:
        view = optuna.Study(study_name=self.study.name, storage=storage, sampler=sampler)
        trial = optuna.trial.Trial(view, trial_id)
        self.study.rows.sample(lambda name, row: suggest(trial, name, row))
        return trial.params


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("trials", [0, 6, 40, 300])
def test_proposals_are_those_of_stock_tpe_with_others_running(direction: str, trials: int) -> None:
    study = make_study(direction)
    pair = Pair(study, trials)
    ours = Sampling(study, pair.cache)
    rng = random.Random(1)
    for _ in range(12):  # left running, so that each next one has to keep away from them
        trial_id = pair.start()
        expected = pair.propose(
            pair.stock, trial_id, study.sampler.build(study.rows, sampler_seed(study.seed, trial_id))
        )
        assert pair.propose(pair.cache, trial_id, ours.sampler(trial_id)) == expected
        if rng.random() < 0.5:
            for storage in (pair.stock, pair.cache):
                storage.set_trial_intermediate_value(trial_id, 1, 0.9)
                storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.1 * trial_id])
    attributes = [trial.system_attrs for trial in pair.cache.get_all_trials(0, deepcopy=False)]
    assert attributes == [trial.system_attrs for trial in pair.stock.get_all_trials(0, deepcopy=False)]


def test_a_trial_that_the_database_took_back_is_forgotten() -> None:
    study = make_study()
    pair = Pair(study, 30)
    ours = Sampling(study, pair.cache)
    sampler = ours.sampler(30)
    told = pair.start()
    pair.propose(pair.stock, told, study.sampler.build(study.rows, 1))
    params = {name: (value, row) for name, value, row in _as_set(pair.stock.get_trial(told))}
    for name, (value, row) in params.items():
        pair.cache.set_trial_param(told, name, row.to_internal_repr(value), row)
    pair.cache.set_trial_state_values(told, TrialState.COMPLETE, [2.0])
    ours.sampler(31)  # takes it in
    pair.cache.drop(told)
    pair.cache.apply([pair.stock.get_trial(told)])  # still running there
    following = pair.start()
    expected = pair.propose(pair.stock, following, study.sampler.build(study.rows, sampler_seed(0, 32)))
    assert pair.propose(pair.cache, following, ours.sampler(32)) == expected
    assert sampler is not ours.sampler(32)


def _as_set(trial: FrozenTrial) -> list[tuple[str, Any, Any]]:
    return [(name, value, trial.distributions[name]) for name, value in trial.params.items()]


def test_reports_that_the_database_corrects_or_takes_back_move_the_cut_off() -> None:
    study = make_study(pruner=MedianPruner(startup_trials=1, warmup_epochs=0, min_trials=1))
    pair = Pair(study, 0)
    pruner = make_pruner(study, pair.cache, 0)
    view = optuna.load_study(study_name=study.name, storage=pair.stock)

    def complete(number: int, value: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
        trial = create_trial(state=state, value=value, intermediate_values={1: value})
        trial.number = trial._trial_id = number
        return trial

    def pruned_at(value: float) -> bool:
        asked = create_trial(state=TrialState.RUNNING, intermediate_values={1: value})
        return pruner.prune(view, asked)

    pair.cache.apply([complete(0, 0.5), complete(1, 0.7)])
    assert pruned_at(0.55)
    assert not pruned_at(0.65)
    pair.cache.apply([complete(0, 0.5)])  # the same again, as when its times are set
    assert not pruned_at(0.65)
    pair.cache.apply([complete(0, 0.9)])
    assert pruned_at(0.65)
    pair.cache.apply([complete(0, 0.9, TrialState.PRUNED)])
    assert not pruned_at(0.7)
    assert pruned_at(0.65)


@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_the_epochs_of_the_warm_up_are_never_the_last(warmup: int) -> None:
    """Epochs count from 1: a hopeless trial ends after epoch warmup + 1, not before."""
    study = make_study(pruner=MedianPruner(startup_trials=1, warmup_epochs=warmup, min_trials=1))
    pair = Pair(study, 0)
    pruner = make_pruner(study, pair.cache, 0)
    view = optuna.load_study(study_name=study.name, storage=pair.stock)
    good = dict.fromkeys(range(1, 7), 0.9)
    for number in range(2):
        trial = create_trial(value=0.9, intermediate_values=good)
        trial.number = trial._trial_id = number
        pair.cache.apply([trial])
    reports: dict[int, float] = {}
    for epoch in range(1, 7):
        reports[epoch] = 0.1
        if pruner.prune(view, create_trial(state=TrialState.RUNNING, intermediate_values=dict(reports))):
            break
    assert len(reports) == warmup + 1


def test_a_trial_is_compared_with_those_at_least_as_long() -> None:
    """At one epoch the learning rate of a shorter trial has fallen further. Without such a row, length is no matter."""
    pruner = MedianPruner(startup_trials=1, warmup_epochs=0, min_trials=1)
    rows = make_study().rows.rows
    searched = make_study(space={**rows, "epochs": Int(1, 9)}, baseline={**BASELINE, "epochs": 9}, pruner=pruner)
    for study, same in ((searched, False), (make_study(pruner=pruner), True)):
        pair = Pair(study, 0)
        ours, view = make_pruner(study, pair.cache, 0), optuna.load_study(study_name="s", storage=pair.stock)

        def of(epochs: int, value: float, number: int | None = None) -> FrozenTrial:
            state, length = (TrialState.RUNNING if number is None else TrialState.COMPLETE), IntDistribution(1, 9)
            trial = create_trial(
                state=state,
                value=None if number is None else value,
                params={"epochs": epochs},
                distributions={"epochs": length},
                intermediate_values={1: value},
            )
            trial.number = trial._trial_id = number or 0
            return trial

        pair.cache.apply([of(2, 0.9, 1), of(3, 0.8, 2), of(9, 0.5, 3)])
        assert [ours.prune(view, of(epochs, 0.6)) for epochs in (2, 3, 9)] == [True, True, same]
        assert ours.prune(view, of(9, 0.4))
        assert ours.prune(view, of(3, 0.7)) is same
        pair.cache.apply([of(9, 0.7, 4)])
        assert ours.prune(view, of(9, 0.55))


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    "pruner",
    [
        MedianPruner(startup_trials=3, warmup_epochs=1),
        PercentilePruner(percentile=25.0, startup_trials=0, warmup_epochs=0, interval=3, min_trials=1),
        PercentilePruner(percentile=90.0, startup_trials=4, warmup_epochs=1, interval=2, min_trials=5),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:All-NaN")  # which stock says and ours does not
def test_decisions_are_those_of_the_stock_pruner(direction: str, pruner: PercentilePruner) -> None:
    study = make_study(direction, pruner=pruner)
    rng = random.Random(5)
    pair = Pair(study, 0)
    ours, stock = make_pruner(study, pair.cache, 1), pruner.build(study.epochs, 1)
    view = optuna.load_study(study_name=study.name, storage=pair.stock)
    decisions: list[bool] = []
    for number in range(0, 120, 2):
        pair.add(past_trial(study, rng, number))
        trial_id = pair.start()
        for step in range(rng.randint(0, 2), 10):
            value = rng.choice([0.2, math.nan, rng.random(), rng.random()])
            for storage in (pair.stock, pair.cache):
                storage.set_trial_intermediate_value(trial_id, step, value)
            expected = bool(stock.prune(view, pair.stock.get_trial(trial_id)))
            assert ours.prune(view, pair.cache.get_trial(trial_id)) == expected
            decisions.append(expected)
        for storage in (pair.stock, pair.cache):
            storage.set_trial_state_values(trial_id, TrialState.FAIL)
    assert 10 < sum(decisions) < len(decisions) - 10


def test_a_search_by_cma_es_never_asks_the_sampler_that_unpickles() -> None:
    study = make_study(sampler=CmaEs())
    cache = StudyCache(0, study.name, (StudyDirection.MAXIMIZE,))
    assert isinstance(Sampling(study, cache).sampler(0), TrialsCmaEs)
