"""Rows: claims, saves, leases and reads on a real PostgreSQL."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, Engine, event, text

from hpo.storage import queries
from hpo.storage.engine import open_engine
from hpo.storage.queries import EpochRow, Requeue, TrialResult, WriteBatch

LR = FloatDistribution(1e-5, 1e-1, log=True)


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def study_id(engine: Engine) -> int:
    with engine.begin() as c:
        study_id = queries.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        queries.register(
            c, study_id, fingerprint="f", declaration={"a": 1}, source="x = 1", seed=7, facts={"commit": "c"}
        )
        return study_id


def create(engine: Engine, study_id: int, worker: str = "w", limit: int = 1, target: int | None = None) -> list[int]:
    with engine.begin() as c:
        if target is not None:
            queries.set_budget(c, study_id, None, target)
        return [claim.trial_id for claim in queries.claim(c, study_id, worker, "host", 30, limit)]


def save(engine: Engine, writes: WriteBatch, worker: str = "w", **options: bool) -> queries.SaveResult:
    with engine.begin() as c:
        return queries.save(c, writes, worker, **options)


def one(engine: Engine, trial_id: int) -> optuna.trial.FrozenTrial:
    with engine.begin() as c:
        study_id = c.execute(text("SELECT study_id FROM trials WHERE trial_id = :t"), {"t": trial_id}).scalar_one()
        return queries.read_changes(c, study_id, 10**9, [trial_id])[0]


def test_numbers_continue_densely_and_stay_within_the_target(engine: Engine, study_id: int) -> None:
    create(engine, study_id, limit=3)
    assert len(create(engine, study_id, limit=5, target=5)) == 2
    assert create(engine, study_id, limit=5, target=5) == []
    with engine.begin() as c:
        assert [t.number for t in queries.read_changes(c, study_id)] == [0, 1, 2, 3, 4]


def test_stock_optuna_and_ours_number_alike(engine: Engine, study_id: int, database_url: str) -> None:
    create(engine, study_id)
    study = optuna.load_study(study_name="s", storage=database_url)
    assert study.ask().number == 1
    create(engine, study_id)
    assert study.ask().number == 3


def test_four_threads_with_a_target_of_30_give_exactly_30(engine: Engine, study_id: int, database_url: str) -> None:
    with engine.begin() as c:
        queries.enqueue(c, study_id, [({"lr": i / 100}, {}) for i in range(1, 6)])
        queries.set_budget(c, study_id, None, 30)
    claimed: list[int] = []

    def work(name: str) -> None:
        mine = open_engine(database_url)
        while True:
            with mine.begin() as c:
                got = queries.claim(c, study_id, name, name, 30, 2)
            if not got:
                break
            claimed.extend(claim.trial_id for claim in got)
            writes = WriteBatch()
            for claim in got:
                writes.finish(TrialResult(claim.trial_id, TrialState.COMPLETE, (1.0,)))
            with mine.begin() as c:
                assert not queries.save(c, writes, name).lost
        mine.dispose()

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 30
    with engine.begin() as c:
        assert queries.counts(c, study_id)[TrialState.COMPLETE] == 30


def test_claiming_takes_own_host_first_and_respects_a_target_below_the_queue(engine: Engine, study_id: int) -> None:
    with engine.begin() as c:
        ids = queries.enqueue(c, study_id, [({"lr": i / 100}, {}) for i in range(1, 4)])
        c.execute(
            text("INSERT INTO hpo_leases (trial_id, study_id, host, attempt, checkpoint) VALUES (:t, :s, 'b', 2, 'c')"),
            {"t": ids[2], "s": study_id},
        )
        [first] = queries.claim(c, study_id, "w", "b", 30, 1, new=False)
        assert (first.trial_id, first.attempt, first.checkpoint, first.fresh) == (ids[2], 2, "c", False)
        queries.set_budget(c, study_id, None, 2)
        assert len(queries.claim(c, study_id, "w", "b", 30, 5, new=False)) == 1


def test_a_study_that_was_deleted_is_said_to_be_gone(engine: Engine, study_id: int) -> None:
    for new in (True, False):
        with engine.begin() as c, pytest.raises(queries.NoStudy):
            queries.claim(c, study_id + 1, "w", "host", 30, 1, new=new)


def test_enqueue_takes_true_and_one_for_two_values_and_one_and_one_point_zero_for_one(
    engine: Engine, study_id: int
) -> None:
    values = [True, 1, 1.0, None, "1", [1], [True]]
    with engine.begin() as c:
        assert len(queries.enqueue(c, study_id, [({"a": value}, {}) for value in values])) == 6


def test_enqueue_writes_what_optuna_writes_and_skips_equals(engine: Engine, study_id: int, database_url: str) -> None:
    with engine.begin() as c:
        assert len(queries.enqueue(c, study_id, [({"lr": 0.1}, {"from": "baseline"}), ({"lr": 0.1}, {})])) == 1
        assert queries.enqueue(c, study_id, [({"lr": 0.1}, {})]) == []
    study = optuna.load_study(study_name="s", storage=database_url)
    study.enqueue_trial({"lr": 0.2}, user_attrs={"from": "baseline"})
    ours, theirs = study.get_trials()
    assert theirs.system_attrs == {"fixed_params": {"lr": 0.2}}
    theirs._system_attrs = {"fixed_params": {"lr": 0.1}}
    theirs._number, theirs._trial_id = ours._number, ours._trial_id
    assert ours == theirs
    assert study.ask().suggest_float("lr", 0.01, 1.0) == 0.1


def test_saving_twice_is_harmless_and_somebody_elses_outcome_is_kept(engine: Engine, study_id: int) -> None:
    mine, failed, taken = create(engine, study_id, limit=3)
    writes = WriteBatch()
    for trial_id in (mine, failed, taken):
        writes.set_param(trial_id, "lr", 0.01, LR)
        writes.finish(TrialResult(trial_id, TrialState.COMPLETE, (0.5,)))
    with engine.begin() as c:
        c.execute(text("UPDATE trials SET state = 'FAIL' WHERE trial_id = :t"), {"t": failed})
        c.execute(text("UPDATE hpo_leases SET worker_id = 'other' WHERE trial_id = :t"), {"t": taken})
    for _ in range(2):
        result = save(engine, writes)
        assert result.lost == {failed: TrialState.FAIL, taken: TrialState.RUNNING}
        assert set(result.finished) == {mine}
    assert one(engine, mine).datetime_complete == result.finished[mine]
    assert one(engine, failed).params == {} == one(engine, taken).params
    other = WriteBatch()
    other.finish(TrialResult(mine, TrialState.COMPLETE, (0.6,)))
    assert save(engine, other).lost == {mine: TrialState.COMPLETE}
    assert one(engine, mine).values == [0.5]


def test_a_deleted_trial_is_lost(engine: Engine, study_id: int) -> None:
    [trial_id] = create(engine, study_id)
    with engine.begin() as c:
        queries.delete_study(c, "s")
        assert queries.find_study(c, "s") is None
    writes = WriteBatch()
    writes.report(trial_id, 1, 0.5)
    assert save(engine, writes).lost == {trial_id: None}


def test_a_requeued_trial_waits_with_its_checkpoint_and_may_be_adopted(engine: Engine, study_id: int) -> None:
    [trial_id] = create(engine, study_id)
    writes = WriteBatch()
    writes.requeue(Requeue(trial_id, 1, "folder"))
    for _ in range(2):
        assert save(engine, writes).requeued == {trial_id}
    with engine.begin() as c:
        [claim] = queries.claim(c, study_id, "w2", "host", 30, 5, new=False)
        assert (claim.attempt, claim.checkpoint) == (2, "folder")
    assert save(engine, writes).lost == {trial_id: TrialState.RUNNING}
    save(engine, writes, "w2")
    late = WriteBatch()
    late.finish(TrialResult(trial_id, TrialState.PRUNED, (0.1,)))
    assert save(engine, late, "gone").lost == {trial_id: TrialState.WAITING}
    assert set(save(engine, late, "gone", adopt=True).finished) == {trial_id}


def test_not_a_number_and_infinities_are_stored_as_optuna_does(
    engine: Engine, study_id: int, database_url: str
) -> None:
    [trial_id] = create(engine, study_id)
    writes = WriteBatch()
    for step, value in enumerate((math.nan, math.inf, -math.inf, 1.5)):
        writes.report(trial_id, step, value)
    writes.epoch(EpochRow(trial_id, 1, train_loss=math.nan, val_loss=math.inf, lr=None))
    writes.finish(TrialResult(trial_id, TrialState.COMPLETE, (math.inf,)))
    save(engine, writes)
    for trial in (one(engine, trial_id), optuna.load_study(study_name="s", storage=database_url).trials[0]):
        assert trial.values == [math.inf]
        assert math.isnan(trial.intermediate_values.pop(0))
        assert trial.intermediate_values == {1: math.inf, 2: -math.inf, 3: 1.5}
    with engine.begin() as c:
        loss, lr = c.execute(text("SELECT train_loss, lr FROM hpo_epochs")).one()
    assert math.isnan(loss)
    assert lr is None


def test_a_lease_runs_out_and_attempts_are_used_up(engine: Engine, study_id: int) -> None:
    [trial_id] = create(engine, study_id)
    for attempt in (1, 2, 3):
        with engine.begin() as c:
            assert queries.expired(c, study_id) == []
            c.execute(text("UPDATE hpo_leases SET expires_at = now() - interval '1 s'"))
        with engine.begin() as c:
            [due] = queries.expired(c, study_id)
            assert (due.trial_id, due.attempt, due.host) == (trial_id, attempt, "host")
            assert queries.reap(c, trial_id, due.expires_at, 3).outcome == ("failed" if attempt == 3 else "requeued")
            assert queries.reap(c, trial_id, due.expires_at, 3).outcome == "unchanged"
            queries.claim(c, study_id, "w", "host", 30, 1, new=False)
    trial = one(engine, trial_id)
    assert trial.state == TrialState.FAIL
    assert trial.datetime_complete is not None
    assert trial.user_attrs["failure"]["kind"] == "attempts"


def test_lost_hosts_and_dead_trainers_are_counted_apart(engine: Engine, study_id: int) -> None:
    """Two trainers died under it: three hosts may be lost all the same, and a worker that signs off never fails it."""
    [trial_id] = create(engine, study_id)

    def counts(ended: Callable[[Connection], object]) -> tuple[int, int]:
        with engine.begin() as c:
            ended(c)
        with engine.begin() as c:
            [claim] = queries.claim(c, study_id, "w", "host", 30, 1, new=False)
        return claim.attempt, claim.trainer_deaths

    def trainer_died(c: Connection) -> object:
        writes = WriteBatch()
        writes.requeue(Requeue(trial_id, trainer_deaths=1))
        return queries.save(c, writes, "w")

    assert counts(trainer_died) == (2, 1)
    assert counts(trainer_died) == (3, 2)
    assert counts(lambda c: queries.release_worker(c, "w", 3)) == (4, 2)
    assert counts(lambda c: queries.release_worker(c, "w", 3)) == (5, 2)
    for _ in range(20):
        assert counts(lambda c: queries.sign_off(c, "w")) == (5, 2)
    with engine.begin() as c:
        assert [result.outcome for result in queries.release_worker(c, "w", 3)] == ["failed"]


def test_a_trial_that_got_on_and_was_put_down_has_all_its_attempts_again(engine: Engine, study_id: int) -> None:
    [trial_id] = create(engine, study_id)
    with engine.begin() as c:
        c.execute(text("UPDATE hpo_leases SET attempt = 7, trainer_deaths = 2"))
    reported, put_down = WriteBatch(), WriteBatch()
    reported.epoch(EpochRow(trial_id, 1))
    put_down.requeue(Requeue(trial_id))
    save(engine, reported)
    save(engine, put_down)
    with engine.begin() as c:
        [claim] = queries.claim(c, study_id, "w", "host", 30, 1, new=False)
    assert (claim.attempt, claim.trainer_deaths) == (1, 0)


def test_an_attempt_that_finished_an_epoch_is_not_counted_against_the_trial(engine: Engine, study_id: int) -> None:
    """Hosts may vanish from under a long trial any number of times, as long as it gets on between them."""
    [trial_id] = create(engine, study_id)
    for epoch, outcome in zip((1, 2, 3, 4, 4, 4), ["requeued"] * 5 + ["failed"], strict=True):
        save_epoch = WriteBatch()
        save_epoch.epoch(EpochRow(trial_id, epoch))  # told again from a checkpoint, it is no progress
        save(engine, save_epoch)
        with engine.begin() as c:
            assert [result.outcome for result in queries.release_worker(c, "w", 3)] == [outcome]
        with engine.begin() as c:
            queries.claim(c, study_id, "w", "host", 30, 1, new=False)
    assert one(engine, trial_id).state == TrialState.FAIL


def test_a_renewed_lease_is_not_reaped_and_a_decided_trial_is_seen(engine: Engine, study_id: int) -> None:
    first, second = create(engine, study_id, limit=2)
    with engine.begin() as c:
        queries.register_worker(c, "w", study_id, host="host", identity={"pid": 1}, slots=[])
        c.execute(text("UPDATE hpo_leases SET expires_at = now() - interval '1 s'"))
        c.execute(text("UPDATE trials SET state = 'FAIL' WHERE trial_id = :t"), {"t": second})
    with engine.begin() as c:
        due = queries.expired(c, study_id)
    with engine.begin() as c, counted(engine) as statements:
        held = queries.renew(c, "w", 30, json.dumps(["cpu:0"]))
    assert len(statements) == 1
    assert held == {first: TrialState.RUNNING, second: TrialState.FAIL}
    with engine.begin() as c:
        assert queries.reap(c, first, due[0].expires_at, 3).outcome == "unchanged"
        assert queries.list_workers(c, study_id)[0].slots == ["cpu:0"]
        assert [result.outcome for result in queries.release_worker(c, "w", 10)] == ["requeued", "unchanged"]
        assert queries.renew(c, "nobody", 30) == {}
        assert queries.list_workers(c)[0].state == "gone"
        assert queries.states(c, [first, second]) == {first: TrialState.WAITING, second: TrialState.FAIL}


def test_records_and_budget(engine: Engine, study_id: int) -> None:
    with engine.begin() as c:
        again = queries.register(c, study_id, fingerprint="g", declaration={}, source="", seed=1, facts={})
        assert (again.fingerprint, again.declaration, again.seed) == ("f", {"a": 1}, 7)
        assert queries.budget(c, study_id).seconds_left is None
        queries.set_budget(c, study_id, 3600.0, 30)
        budget = queries.budget(c, study_id)
        assert budget.trials_target == 30
        assert budget.seconds_left == pytest.approx(3600, abs=5)
        assert queries.create_study(c, "s", (StudyDirection.MINIMIZE,)) == study_id
        assert queries.list_studies(c) == [queries.StudyRow(study_id, "s", (StudyDirection.MAXIMIZE,))]


def life(engine: Engine, study_id: int) -> None:
    """Create, sample 8 parameters, 10 reports in 3 flushes, finish with the last; one sync and two renewals."""
    [trial_id] = create(engine, study_id)
    writes = WriteBatch()
    for i in range(8):
        writes.set_param(trial_id, f"p{i}", 0.01, LR)
    writes.set_system_attr(trial_id, "tpe:relative_params:0", "{}")
    save(engine, writes)
    for steps in (range(1, 4), range(4, 8), range(8, 11)):
        writes = WriteBatch()
        for step in steps:
            writes.report(trial_id, step, 0.5)
            writes.epoch(EpochRow(trial_id, step, 1.0, 0.5, 1.0, 0.5, 0.01, 3.0))
        if 10 in steps:
            writes.set_user_attr(trial_id, "seconds", 30)
            writes.finish(TrialResult(trial_id, TrialState.COMPLETE, (0.5,)))
        save(engine, writes)


def test_a_typical_life_costs_few_statements(engine: Engine, study_id: int) -> None:
    with counted(engine) as statements:
        life(engine, study_id)
    print("statements per trial:", len(statements))
    assert len(statements) <= 10
    with counted(engine) as statements, engine.begin() as c:
        assert len(queries.read_changes(c, study_id)) == 1
    assert len(statements) <= 2


def test_what_is_read_is_what_optuna_reads(engine: Engine, study_id: int, database_url: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("zz", 0, 1)
        kind = trial.suggest_categorical("aa", ["sgd", None, 3])
        trial.suggest_int("n", 1, 10, step=3)
        trial.set_user_attr("b", {"nested": [1, 2]})
        trial.set_user_attr("a", 1)
        trial.set_constraint("memory", 0.5)
        for step in (3, 1, 2):
            trial.report(x * step, step)
        if kind == "sgd":
            raise optuna.TrialPruned
        if kind is None:
            raise ArithmeticError
        return x

    study = optuna.load_study(study_name="s", storage=database_url, sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=12, catch=(ArithmeticError,))
    stock = study.get_trials()
    assert {trial.state for trial in stock} == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    with engine.begin() as c:
        mine = queries.read_changes(c, study_id)
        assert mine == stock
        assert [list(t.params) for t in mine] == [list(t.params) for t in stock]
        some = queries.read_changes(c, study_id, stock[9]._trial_id, [stock[2]._trial_id])
    assert some == [stock[2], stock[10], stock[11]]


def test_reading_works_on_sqlite(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    study = optuna.create_study(storage=url, study_name="s", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    engine = open_engine(url)
    with engine.begin() as c:
        found = queries.find_study(c, "s")
        assert found is not None
        assert queries.read_changes(c, found.study_id) == study.get_trials()
        assert queries.counts(c, found.study_id)[TrialState.COMPLETE] == 3
        assert queries.read_failed(c, found.study_id) == []
    for state in (TrialState.FAIL, TrialState.WAITING, TrialState.FAIL, TrialState.PRUNED):
        study.add_trial(optuna.trial.create_trial(state=state))
    with engine.begin() as c:
        assert [trial.number for trial in queries.read_failed(c, found.study_id)] == [3, 5]
    engine.dispose()


def test_distributions_of_every_kind_survive(engine: Engine, study_id: int, database_url: str) -> None:
    [trial_id] = create(engine, study_id)
    given = {
        "f": (0.3, FloatDistribution(0, 1, step=0.1)),
        "i": (4, IntDistribution(1, 64, log=True)),
        "c": (1, CategoricalDistribution(["a", None, True, 2.5])),
    }
    writes = WriteBatch()
    for name, (internal, distribution) in given.items():
        writes.set_param(trial_id, name, internal, distribution)
    save(engine, writes)
    trial = one(engine, trial_id)
    assert trial.params == {"f": 0.3, "i": 4, "c": None}
    assert [trial] == optuna.load_study(study_name="s", storage=database_url).get_trials()


def test_a_complete_trial_without_a_value_is_read_as_failed(engine: Engine, study_id: int, database_url: str) -> None:
    """No Optuna leaves one; samplers and pruners would end on it."""
    study = optuna.load_study(study_name=queries.list_studies(engine.connect())[0].name, storage=database_url)
    for value in (0.5, 0.6):
        study.add_trial(optuna.trial.create_trial(value=value))
    with engine.begin() as c:
        c.execute(text("DELETE FROM trial_values WHERE value = 0.5"))
        found = [(trial.state, trial.values) for trial in queries.read_changes(c, study_id)]
    assert found == [(TrialState.FAIL, None), (TrialState.COMPLETE, [0.6])]
