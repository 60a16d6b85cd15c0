"""A stored study goes on under a table that widened: its trials under the new one, as hpo and Optuna read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine, text

from hpo import TPE, Categorical, Float, Grid, Int, Study
from hpo.errors import DeclarationChanged, StudyError
from hpo.search import evolve
from hpo.search.ask_tell import AskTell
from hpo.search.identity import own_identity
from hpo.search.open_study import OpenOptions, OpenStudy, open_study
from hpo.storage import evolving, queries
from hpo.storage.queries import EpochRow, TrialResult, WriteBatch
from hpo.storage.trial_record import record_of
from hpo.study.discovery import FoundStudy

ROWS: dict[str, Any] = {
    "batch_size": 64,
    "hidden_units": Int(8, 64),
    "lr": Float(1e-4, 1e-1, log=True),
    "optimizer": Categorical("adam", "sgd"),
}
WIDER: dict[str, Any] = {
    "batch_size": Int(32, 128),
    "hidden_units": Int(8, 256),
    "lr": Float(1e-5, 1.0, log=True),
    "optimizer": Categorical("rmsprop", "sgd", "adam"),
    "momentum": Float(0.0, 0.9).when(optimizer=["sgd", "rmsprop"]),
    "weight_decay": Float(0.0, 0.1),
}
BASELINE = {"hidden_units": 32, "lr": 1e-2, "optimizer": "adam"}
WIDER_BASELINE = BASELINE | {"batch_size": 64, "weight_decay": 0.0}


def found(**changes: Any) -> FoundStudy:
    fields: dict[str, Any] = {"name": "grows", "dataset": "digits", "model": "shallow", "space": ROWS, "epochs": 3}
    return FoundStudy(Study(**(fields | {"baseline": BASELINE} | changes)), Path(__file__))


def wider(**changes: Any) -> FoundStudy:
    return found(**({"space": WIDER, "baseline": WIDER_BASELINE} | changes))


def opened(engine: Engine, study: FoundStudy, worker: str = "w", **options: Any) -> OpenStudy:
    return open_study(engine, study, OpenOptions(**options), worker, own_identity(), {}, live_seconds=30)


def asker(study: FoundStudy, of: OpenStudy) -> AskTell:
    return AskTell(study.study, of.study_id, of.cache, Path("checkpoints"), "host", workers=1)


def begin(engine: Engine, ask_tell: AskTell, count: int, worker: str = "w") -> list[Any]:
    with engine.begin() as c:
        claims = ask_tell.claim(c, worker, 30.0, count)
        ask_tell.synchronise(c, [claim.trial_id for claim in claims])
    trials = [ask_tell.sample(claim) for claim in claims]
    with engine.begin() as c:
        queries.save(c, ask_tell.cache.take_writes(), worker)
    return trials


@pytest.fixture
def study_id(engine: Engine) -> int:
    """Trials 0, the baseline, to 11 are complete; 12 has begun, and waits after an epoch; nobody is at work."""
    of = opened(engine, found())
    trials = begin(engine, asker(found(), of), 13)
    writes = WriteBatch()
    for trial in trials:
        for epoch in range(1, 4 if trial.number < 12 else 2):
            writes.epoch(EpochRow(trial.trial_id, epoch, val_loss=1.0))
            writes.report(trial.trial_id, epoch, 0.5 + trial.number / 100 + epoch / 1000)
        if trial.number < 12:
            for key, value in {"config": trial.config, "seed": 1}.items():
                writes.set_user_attr(trial.trial_id, key, value)
            writes.finish(TrialResult(trial.trial_id, TrialState.COMPLETE, (0.5 + trial.number / 100,)))
    with engine.begin() as c:
        queries.save(c, writes, "w")
        queries.sign_off(c, "w")
    return of.study_id


def everything(engine: Engine) -> dict[str, list[Any]]:
    """Every row of every table but the list of workers, which a refused run does not join either."""
    with engine.begin() as c:
        tables = c.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")).scalars()
        return {name: sorted(map(str, c.execute(text(f"SELECT * FROM {name}")).all())) for name in list(tables)}


def test_every_trial_is_a_whole_configuration_of_the_wider_table_and_optuna_goes_on(
    engine: Engine, database_url: str, study_id: int
) -> None:
    before = {trial.number: trial for trial in optuna.load_study(study_name="grows", storage=database_url).trials}
    of = opened(engine, wider(), evolve=True)
    assert of.evolved[0] == 'study "grows" goes on with another table; it keeps 13 trials so far'
    assert any("weight_decay  -   ->   0.0 .. 0.1   (13 trials so far have 0.0)" in line for line in of.evolved)
    study = optuna.load_study(study_name="grows", storage=database_url)
    for trial in study.trials:
        old = before[trial.number].params
        wanted = (
            old | {"batch_size": 64, "weight_decay": 0.0} | ({"momentum": 0.0} if old["optimizer"] == "sgd" else {})
        )
        assert trial.params == wanted
        assert wider().study.rows.configuration(trial.params)
        assert trial.values == before[trial.number].values
        assert trial.distributions["optimizer"].choices == ("rmsprop", "sgd", "adam")
    # Stock Optuna: one search space, and a trial with what is new.
    space = optuna.search_space.intersection_search_space(study.trials)
    assert set(space) == {"batch_size", "hidden_units", "lr", "optimizer", "weight_decay"}
    assert study.user_attrs["hpo:table_changes"][0]["trials"] == 13
    # hpo: the waiting trial first, as it was; then TPE comes to what is new by itself.
    trials = begin(engine, asker(wider(), of), 12)
    assert trials[0].number == 12
    assert trials[0].params["lr"] == before[12].params["lr"]
    new = [trial.params for trial in trials[1:]]
    assert any(not 1e-4 <= params["lr"] <= 1e-1 for params in new)
    assert any(params["hidden_units"] > 64 for params in new)
    assert any(params["weight_decay"] > 0 for params in new)
    stock = study.ask(dict(study.trials[0].distributions))
    study.tell(stock, 0.5)


def test_a_run_without_evolve_names_it_and_one_with_the_earlier_table_is_told_that_it_is_late(
    engine: Engine, study_id: int
) -> None:
    stored = everything(engine)
    with pytest.raises(DeclarationChanged, match="12 finished") as caught:
        opened(engine, wider())
    assert "`hpo run --evolve` goes on with it" in caught.value.next
    assert everything(engine) == stored
    opened(engine, wider(), evolve=True)
    for options in ({}, {"create": False, "budget": "keep"}, {"evolve": True}):
        with pytest.raises(DeclarationChanged, match="has evolved since") as late:
            opened(engine, found(), "late", **options)
        assert "bring the study's file up to date" in late.value.next
    assert opened(engine, wider(), "w", evolve=True).evolved == ()


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"space": ROWS | {"lr": Float(1e-3, 1e-1, log=True)}}, DeclarationChanged, "narrower"),
        ({"space": WIDER, "baseline": WIDER_BASELINE, "seed": 7}, DeclarationChanged, "it decides what a trial means"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_written(
    engine: Engine, study_id: int, changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    stored = everything(engine)
    with pytest.raises(error, match=words):
        opened(engine, found(**changed), evolve=True)
    assert everything(engine) == stored


@pytest.mark.faults
@pytest.mark.parametrize("place", ["set_queued_params", "redeclare"])
def test_a_study_cut_off_while_it_evolves_is_as_it_was(
    engine: Engine, study_id: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = everything(engine)
    with monkeypatch.context() as patch:
        patch.setattr(evolve.evolving, place, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            opened(engine, wider(), evolve=True)
    assert everything(engine) == stored
    assert opened(engine, wider(), evolve=True).evolved


def test_a_host_at_work_keeps_the_table_as_it_is_and_one_that_was_away_is_told(engine: Engine, study_id: int) -> None:
    host = found()
    of = opened(engine, host, "host")
    (mine,) = begin(engine, ask_tell := asker(host, of), 1, "host")
    with engine.begin() as c:
        ask_tell.count(c)
    with pytest.raises(StudyError, match="has an active run, so its table cannot change"):
        opened(engine, wider(), "other", evolve=True)
    with engine.begin() as c:
        c.execute(text("UPDATE hpo_workers SET seen_at = now() - interval '1 hour' WHERE worker_id = 'host'"))
    opened(engine, wider(), "other", evolve=True)
    late = WriteBatch()
    late.finish(TrialResult(mine.trial_id, TrialState.COMPLETE, (0.99,)))
    with engine.begin() as c:
        assert queries.save(c, late, "host").lost == {mine.trial_id: TrialState.WAITING}
    with engine.begin() as c, pytest.raises(DeclarationChanged, match="has evolved while this host was away"):
        ask_tell.count(c)


def test_with_more_epochs_what_is_finished_stays_and_what_has_begun_begins_again(engine: Engine, study_id: int) -> None:
    of = opened(engine, found(epochs=6), evolve=True)
    assert of.evolved[-1] == "  finished trials stay as they are, trained for 3 epochs, and 1 unfinished begin again"
    trials = of.cache.get_all_trials(of.study_id, deepcopy=False)
    assert {record_of(trial).get("planned_epochs") for trial in trials[:12]} == {3}
    assert (trials[12].intermediate_values, record_of(trials[12]).get("planned_epochs")) == ({}, None)
    assert trials[12].params
    ask_tell = asker(found(epochs=6), of)
    trials_now = begin(engine, ask_tell, 2)
    for epoch in (1, 2, 3):  # far below every finished trial, whose learning rate had fallen by then
        ask_tell.cache.report(EpochRow(trials_now[1].trial_id, epoch), ((epoch, 0.1),))
        trials_now[1].steps.add(epoch)
    assert not ask_tell.should_prune(trials_now[1])
    with engine.begin() as c:
        stored = queries.declaration(c, of.study_id)
    assert stored is not None
    assert stored.facts["job"]["protocol"]["epochs"] == 6


def test_a_grid_gets_the_points_that_are_new_and_repeats_none(engine: Engine) -> None:
    rows = {"batch_size": 64, "hidden_units": Categorical(8, 16), "lr": 0.1}
    grid = {"name": "grid", "space": rows, "baseline": {"hidden_units": 8}, "sampler": Grid()}
    more = {"hidden_units": Categorical(8, 16, 32), "weight_decay": Categorical(0.0, 0.1)}
    opened(engine, found(**grid))
    changed = grid | {"space": rows | more, "baseline": {"hidden_units": 8, "weight_decay": 0.0}}
    with engine.begin() as c:
        queries.sign_off(c, "w")
    of = opened(engine, found(**changed), evolve=True)
    with engine.begin() as c:
        points = list(evolving.queued_params(c, of.study_id).values())
    assert len(points) == 6
    assert sorted((p["hidden_units"], p["weight_decay"]) for p in points) == sorted(
        (units, decay) for units in (8, 16, 32) for decay in (0.0, 0.1)
    )
    with engine.begin() as c:
        queries.sign_off(c, "w")
    with pytest.raises(DeclarationChanged, match="a grid is laid out when its study begins"):
        opened(engine, found(**changed | {"sampler": TPE()}), evolve=True)


def test_per_layer_rows_get_a_value_for_each_layer_that_a_trial_has(engine: Engine, database_url: str) -> None:
    """A fixed row becomes one that is searched per layer, under another name for each."""
    rows = {"batch_size": 64, "layers": Int(1, 3), "hidden_units": 40, "lr": 0.1}
    fields = {"name": "deep", "model": "mlp", "baseline": {"layers": 2}}
    of = opened(engine, found(**fields, space=rows))
    begin(engine, asker(found(**fields, space=rows), of), 6)
    with engine.begin() as c:
        queries.sign_off(c, "w")
    per = rows | {"hidden_units": Int(8, 64).per("layers")}
    after = found(**fields | {"baseline": {"layers": 2, "hidden_units": [40, 40]}}, space=per)
    opened(engine, after, evolve=True)
    for trial in optuna.load_study(study_name="deep", storage=database_url).trials:
        assert after.study.rows.configuration(trial.params)["hidden_units"] == [40] * trial.params["layers"]
