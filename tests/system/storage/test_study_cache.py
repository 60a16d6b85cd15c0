"""The study in memory: the same contract as stock RDBStorage, the same proposals as stock in-memory storage."""

from __future__ import annotations

import math
import threading
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import Engine

from hpo.storage import queries
from hpo.storage.queries import Claim, Requeue
from hpo.storage.study_cache import StudyCache

MAXIMIZE = (StudyDirection.MAXIMIZE,)


class Ours:
    """StudyCache and rows, saved after every operation."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with engine.begin() as c:
            self.study_id = queries.create_study(c, "s", MAXIMIZE)
        self.storage = StudyCache(self.study_id, "s", MAXIMIZE)

    def create(self) -> int:
        with self.engine.begin() as c:
            [claim] = queries.claim(c, self.study_id, "w", "host", 30, 1)
        self.storage.start(claim)
        return claim.trial_id

    def flush(self) -> None:
        with self.engine.begin() as c:
            assert not queries.save(c, self.storage.take_writes(), "w").lost


class Stock:
    """RDBStorage as it is."""

    def __init__(self, engine: Engine) -> None:
        self.storage = RDBStorage(engine.url.render_as_string(hide_password=False))
        self.study_id = self.storage.create_new_study(list(MAXIMIZE), "s")

    def create(self) -> int:
        return self.storage.create_new_trial(self.study_id)

    def flush(self) -> None:
        pass


@pytest.fixture(params=[Ours, Stock])
def backend(request: pytest.FixtureRequest, engine: Engine) -> Any:
    return request.param(engine)


class TestContract:
    """Runs over ours and over stock; each test ends by reading the database as stock Optuna does."""

    def same(self, backend: Any, engine: Engine) -> list[FrozenTrial]:
        """What the storage holds is what a stock Optuna reads; ends told here are within a second."""
        backend.flush()
        url = engine.url.render_as_string(hide_password=False)
        stored = optuna.load_study(study_name="s", storage=url).get_trials()
        held = backend.storage.get_all_trials(backend.study_id)
        for mine, theirs in zip(held, stored, strict=True):
            if theirs.datetime_complete is not None:
                assert abs((mine.datetime_complete - theirs.datetime_complete).total_seconds()) < 60
                mine.datetime_complete = theirs.datetime_complete
            assert repr(mine) == repr(theirs)  # NaN equals NaN here
        return stored

    def test_a_trial_from_creation_to_its_outcome(self, backend: Any, engine: Engine) -> None:
        storage: BaseStorage = backend.storage
        trial_id = backend.create()
        storage.set_trial_param(trial_id, "z", 0.01, FloatDistribution(1e-5, 1e-1, log=True))
        storage.set_trial_param(trial_id, "a", 1, CategoricalDistribution(["adam", "sgd"]))
        for step, value in ((1, 0.5), (2, math.nan), (3, math.inf), (4, -math.inf)):
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_user_attr(trial_id, "seconds", {"train": 1.5})
        storage.set_trial_user_attr(trial_id, "seconds", {"train": 2.5})
        storage.set_trial_system_attr(trial_id, "constraints:memory", 0.5)
        self.same(backend, engine)
        assert storage.get_trial_param(trial_id, "a") == 1
        assert storage.get_trial_params(trial_id) == {"z": 0.01, "a": "sgd"}
        assert storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.75])
        [stored] = self.same(backend, engine)
        assert stored.constraints == {"memory": 0.5}
        assert storage.get_best_trial(backend.study_id).values == [0.75]

    def test_a_finished_trial_cannot_be_changed(self, backend: Any, engine: Engine) -> None:
        storage: BaseStorage = backend.storage
        trial_id = backend.create()
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
        for change in (
            lambda: storage.set_trial_user_attr(trial_id, "a", 1),
            lambda: storage.set_trial_system_attr(trial_id, "a", 1),
            lambda: storage.set_trial_intermediate_value(trial_id, 1, 0.0),
            lambda: storage.set_trial_param(trial_id, "x", 0.5, FloatDistribution(0, 1)),
            lambda: storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0]),
        ):
            with pytest.raises(UpdateFinishedTrialError):
                change()
        self.same(backend, engine)

    def test_states_select_and_numbers_order(self, backend: Any, engine: Engine) -> None:
        storage: BaseStorage = backend.storage
        ids = [backend.create() for _ in range(5)]
        for place, state in ((3, TrialState.PRUNED), (1, TrialState.COMPLETE), (0, TrialState.FAIL)):
            storage.set_trial_state_values(ids[place], state, [1.0] if state == TrialState.COMPLETE else None)

        def numbers(*states: TrialState) -> list[int]:
            found = storage.get_all_trials(backend.study_id, deepcopy=False, states=states or None)
            return [trial.number for trial in found]

        assert numbers() == [0, 1, 2, 3, 4]
        assert numbers(TrialState.COMPLETE, TrialState.RUNNING) == [1, 2, 4]
        assert numbers(TrialState.PRUNED) == [3]
        assert storage.get_n_trials(backend.study_id, TrialState.RUNNING) == 2
        assert storage.get_trial_id_from_study_id_trial_number(backend.study_id, 4) == ids[4]
        assert storage.get_trial_number_from_id(ids[4]) == 4
        self.same(backend, engine)

    def test_unknown_things_are_key_errors(self, backend: Any, engine: Engine) -> None:
        storage: BaseStorage = backend.storage
        for ask in (
            lambda: storage.get_trial(10**6),
            lambda: storage.get_study_directions(10**6),
            lambda: storage.get_study_id_from_name("other"),
            lambda: storage.get_trial_id_from_study_id_trial_number(backend.study_id, 99),
        ):
            with pytest.raises(KeyError):
                ask()

    def test_changed_kind_of_a_parameter_is_refused(self, backend: Any, engine: Engine) -> None:
        storage: BaseStorage = backend.storage
        storage.set_trial_param(backend.create(), "x", 0.5, FloatDistribution(0, 1))
        backend.flush()
        with pytest.raises(ValueError, match="different distribution kind"):
            storage.set_trial_param(backend.create(), "x", 0, CategoricalDistribution(["a"]))

    def test_study_attributes(self, backend: Any, engine: Engine) -> None:
        storage: BaseStorage = backend.storage
        storage.set_study_user_attr(backend.study_id, "u", [1])
        storage.set_study_system_attr(backend.study_id, "qmc", 3)
        backend.flush()
        with engine.begin() as c:
            assert queries.study_attrs(c, backend.study_id) == ({"u": [1]}, {"qmc": 3})
        [study] = storage.get_all_studies()
        assert (study.user_attrs, study.system_attrs) == ({"u": [1]}, {"qmc": 3})

    def test_a_search_through_optuna(self, backend: Any, engine: Engine) -> None:
        sampler = optuna.samplers.TPESampler(seed=3, n_startup_trials=4)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
        study = optuna.load_study(study_name="s", storage=backend.storage, sampler=sampler, pruner=pruner)
        for _ in range(12):
            trial = Trial(study, backend.create())
            x = trial.suggest_float("x", -1, 1)
            if trial.suggest_categorical("kind", ["a", "b"]) == "a":
                trial.suggest_int("depth", 1, 5)
            for step in range(3):
                trial.report(-(x**2) + step, step)
                if trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                    break
            else:
                study.tell(trial, -(x**2))
            backend.flush()
        stored = self.same(backend, engine)
        assert {trial.state for trial in stored} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_after_a_read_the_cache_holds_exactly_what_optuna_reads(engine: Engine) -> None:
    ours = Ours(engine)
    for state in (TrialState.COMPLETE, TrialState.FAIL):
        trial_id = ours.create()
        ours.storage.set_trial_state_values(trial_id, state, [1.0] if state == TrialState.COMPLETE else None)
    ours.create()
    ours.flush()
    with engine.begin() as c:
        ours.storage.apply(queries.read_changes(c, ours.study_id))
    stock = optuna.load_study(study_name="s", storage=engine.url.render_as_string(hide_password=False))
    assert ours.storage.get_all_trials(ours.study_id) == stock.get_trials()


def propose(storage: BaseStorage, create: Any) -> list[dict[str, Any]]:
    sampler = optuna.samplers.TPESampler(seed=5, n_startup_trials=5)
    study = optuna.load_study(study_name="s", storage=storage, sampler=sampler)
    proposed = []
    running: list[Trial] = []
    for _ in range(30):
        trial = Trial(study, create())
        x = trial.suggest_float("x", 1e-5, 1.0, log=True)
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            trial.suggest_int("n", 1, 100)
        running.append(trial)
        if len(running) == 3:  # told out of order, some while others run
            study.tell(running.pop(1), -abs(math.log10(x) + 2))
        proposed.append(trial.params)
    return proposed


def test_the_same_sampler_proposes_the_same_as_on_stock_storage() -> None:
    stock = InMemoryStorage()
    study_id = stock.create_new_study(list(MAXIMIZE), "s")
    cache = StudyCache(1, "s", MAXIMIZE)
    numbers = iter(range(100))

    def start() -> int:
        number = next(numbers)
        cache.start(Claim(number + 10, number, 1, None, True))
        return number + 10

    assert propose(cache, start) == propose(stock, lambda: stock.create_new_trial(study_id))


def frozen(trial_id: int, state: TrialState, number: int | None = None) -> FrozenTrial:
    value = 1.0 if state == TrialState.COMPLETE else None
    trial = optuna.trial.create_trial(state=state, value=value)
    trial._trial_id, trial._number = trial_id, trial_id if number is None else number
    return trial


def test_the_database_does_not_undo_what_is_not_saved_yet() -> None:
    cache = StudyCache(1, "s", MAXIMIZE)
    cache.start(Claim(0, 0, 1, None, True))
    cache.start(Claim(1, 1, 1, None, True))
    cache.set_trial_intermediate_value(1, 1, 0.5)
    cache.set_trial_state_values(0, TrialState.COMPLETE, [1.0])
    assert cache.apply([frozen(i, TrialState.RUNNING) for i in range(3)]) == []
    assert cache.get_trial(0).state == TrialState.COMPLETE
    assert cache.get_trial(1).intermediate_values == {1: 0.5}
    assert (cache.open_ids(), cache.own_ids(), cache.ids_to_read([1, 2])) == ([2], [1], [2])
    assert cache.apply([frozen(1, TrialState.FAIL)]) == [1]
    assert cache.get_trial(1).state == TrialState.FAIL


def test_a_lost_trial_is_as_the_database_says() -> None:
    cache = StudyCache(1, "s", MAXIMIZE)
    cache.start(Claim(0, 0, 1, None, True))
    cache.set_trial_state_values(0, TrialState.COMPLETE, [1.0])
    cache.drop(0)
    assert not cache.take_writes()
    assert cache.open_ids() == cache.ids_to_read([]) == [0]
    cache.apply([frozen(0, TrialState.RUNNING)])
    assert cache.ids_to_read([]) == []
    assert cache.get_trial(0).state == TrialState.RUNNING
    assert cache.get_all_trials(1, deepcopy=False, states=(TrialState.COMPLETE,)) == []


def test_a_number_given_away_again_replaces_the_phantom() -> None:
    cache = StudyCache(1, "s", MAXIMIZE)
    cache.apply([frozen(7, TrialState.RUNNING, 0)])
    cache.apply([frozen(9, TrialState.COMPLETE, 0)])
    assert [trial._trial_id for trial in cache.get_all_trials(1)] == [9]
    assert cache.open_ids() == []


def test_a_requeued_trial_waits_and_can_be_started_again() -> None:
    cache = StudyCache(1, "s", MAXIMIZE)
    cache.start(Claim(0, 0, 1, None, True))
    cache.set_trial_param(0, "x", 0.5, FloatDistribution(0, 1))
    cache.requeue(Requeue(0, 1, "folder"))
    assert cache.get_trial(0).state == TrialState.WAITING
    writes = cache.take_writes()
    assert writes.requeues == {0: Requeue(0, 1, "folder")}
    assert writes.params[0]["x"][0] == 0.5
    cache.start(Claim(0, 0, 2, "folder", False))
    assert cache.get_trial(0).params == {"x": 0.5}
    with pytest.raises(KeyError):
        cache.start(Claim(5, 5, 2, None, False))


def test_two_threads_lose_nothing() -> None:
    cache = StudyCache(1, "s", MAXIMIZE)
    for i in range(2):
        cache.start(Claim(i, i, 1, None, True))
    taken = queries.WriteBatch()

    def report(trial_id: int) -> None:
        for step in range(500):
            cache.set_trial_intermediate_value(trial_id, step, 1.0)
            cache.get_all_trials(1, deepcopy=False, states=(TrialState.RUNNING,))

    threads = [threading.Thread(target=report, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.merge(cache.take_writes())
    taken.merge(cache.take_writes())
    assert all(len(taken.intermediate[i]) == len(cache.get_trial(i).intermediate_values) == 500 for i in range(2))
