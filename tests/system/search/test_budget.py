"""A second `hpo run` on a study: it may give the first one more, and never takes anything from it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import hpo
from hpo import Float, NoPruner, Random, Study
from hpo.search.budget import BudgetDecision
from hpo.search.identity import own_identity
from hpo.search.open_study import OpenOptions, open_study, prepare_study
from hpo.storage import queries
from hpo.study.discovery import FoundStudy

STUDY = Study(
    name="shared",
    dataset="digits",
    model="shallow",
    space={"batch_size": 64, "hidden_units": 16, "lr": Float(1e-3, 1e-1, log=True)},
    baseline={"lr": 1e-2},
    pruner=NoPruner(),
    sampler=Random(),
)


def run(
    engine: Engine, host: str, timeout: float | None = None, trials: int | None = None, **fields: Any
) -> BudgetDecision:
    """What `hpo run` on this host would work under."""
    identity = replace(own_identity(), host=host, **({"boot_id": f"boot of {host}"} | fields))
    opening = OpenOptions(timeout_seconds=timeout, trials_target=trials)
    return open_study(engine, FoundStudy(STUDY, Path(__file__)), opening, f"{host}:1", identity, {}).agreed


def budget(agreed: BudgetDecision) -> tuple[float | None, int | None]:
    left = agreed.budget.seconds_left
    return (None if left is None else round(left, -2)), agreed.budget.trials_target


@pytest.mark.parametrize(("timeout", "trials"), [(None, None), (10.0, None), (None, 3), (10.0, 3)])
def test_a_second_run_takes_neither_time_nor_trials_from_the_one_at_work(
    engine: Engine, timeout: float | None, trials: int | None
) -> None:
    """Less or none: the study's budget stays, the newcomer joins it and is told; its own limits are its own."""
    assert run(engine, "first", 3600.0, 20).message == ""
    second = run(engine, "second", timeout, trials)
    assert budget(second) == (3600.0, 20)
    assert (second.leave_seconds, second.leave_trials) == (timeout, trials)
    assert "another run works on this study until " in second.message
    assert "for 20 trials in all; this one joins it" in second.message
    assert ("leaves at " in second.message) == (timeout is not None)
    assert ("after 3 trials in all, by its own limit" in second.message) == (trials is not None)


def test_a_run_without_a_limit_is_not_given_one(engine: Engine) -> None:
    """Until Ctrl-C means that, whoever comes beside it."""
    run(engine, "first")
    second = run(engine, "second", 10.0, 3)
    assert budget(second) == (None, None)
    assert (second.leave_seconds, second.leave_trials) == (10.0, 3)
    assert "without a limit" in second.message


def test_more_time_and_more_trials_are_taken_and_said(engine: Engine) -> None:
    run(engine, "first", 600.0, 20)
    longer = run(engine, "second", 3600.0)
    assert budget(longer) == (3600.0, 20)
    assert longer.leave_seconds is None
    assert "extends that: until " in longer.message
    more = run(engine, "third", trials=30)
    assert budget(more) == (3600.0, 30)
    assert "for 30 trials in all" in more.message
    assert more.leave_trials is None


@pytest.mark.parametrize(
    "ended",
    [
        "UPDATE hpo_workers SET state = 'gone'",
        "UPDATE hpo_workers SET seen_at = now() - interval '2 minutes'",
        "UPDATE hpo_studies SET deadline = now() - interval '1 second'",
    ],
)
def test_with_nobody_at_work_or_the_budget_used_up_a_run_sets_its_own(engine: Engine, ended: str) -> None:
    run(engine, "first", 3600.0, 20)
    with engine.begin() as connection:
        connection.execute(text(ended))
    second = run(engine, "second", 600.0)
    assert (budget(second), second.message) == ((600.0, None), "")


def test_a_run_that_was_killed_on_this_machine_is_nobody_to_join(engine: Engine) -> None:
    """`kill -9` leaves a worker that looks alive to other machines; here its process is known to be gone."""
    first = own_identity()
    run(engine, first.host, 3600.0, boot_id=first.boot_id, pid=2**22 + 1)
    second = run(engine, "again", 600.0, boot_id=first.boot_id)
    assert (budget(second), second.message) == ((600.0, None), "")


def test_opening_again_after_a_broken_connection_finds_no_other_run(engine: Engine) -> None:
    """The first attempt may have been committed: the same worker is not another one."""
    run(engine, "first", 3600.0)
    assert run(engine, "first", 3600.0).message == ""


def test_a_ray_run_joins_as_well(engine: Engine) -> None:
    run(engine, "first", 3600.0)
    agreed = prepare_study(engine, FoundStudy(STUDY, Path(__file__)), OpenOptions(timeout_seconds=60.0), {})
    assert budget(agreed)[0] == 3600.0
    assert agreed.leave_seconds == 60.0


def test_a_ray_run_leaves_at_its_own_limit_whichever_comes_first(engine: Engine) -> None:
    """The nodes of its cluster work under the study's budget and do not know of it."""
    run(engine, "first")
    agreed = prepare_study(
        engine, FoundStudy(STUDY, Path(__file__)), OpenOptions(timeout_seconds=60.0, trials_target=3), {}
    )
    assert agreed.reached(59.0, 2) == ""
    assert agreed.reached(60.0, 2) == "deadline"
    assert agreed.reached(59.0, 3) == "trials"


def test_fewer_trials_beside_an_endless_search_are_an_end_of_its_own(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says when it leaves, not that it has no end; and leaves then."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setenv("HPO_STORAGE", database_url)
    trainer = (sys.executable, str(Path(__file__).parents[1] / "faults" / "fake_trainer.py"))
    monkeypatch.setenv("FAKE", json.dumps({"log": str(tmp_path / "log"), "hold": str(tmp_path / "hold")}))
    run(engine, "first")
    result = hpo.run(STUDY, trials=1, trainers=1, trainer=trainer)
    assert result.stopped == "trials"
    [said] = caplog.messages
    assert said.endswith("and leaves after 1 trial in all, by its own limit")


def test_a_search_without_a_budget_says_that_it_has_no_end(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a notebook nothing else would tell; one with a budget says nothing."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setenv("HPO_STORAGE", database_url)
    trainer = (sys.executable, str(Path(__file__).parents[1] / "faults" / "fake_trainer.py"))
    monkeypatch.setenv("FAKE", json.dumps({"log": str(tmp_path / "log"), "hold": str(tmp_path / "hold")}))
    hpo.run(STUDY, trials=1, trainers=1, trainer=trainer)
    assert caplog.messages == []
    hpo.run(STUDY, trainers=1, trainer=trainer, on_started=lambda stop: stop())
    assert caplog.messages == ["neither a timeout nor a number of trials was given: the search runs until Ctrl-C"]


def test_a_run_heeds_a_stop_from_elsewhere_and_puts_down_what_it_trains(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the dashboard's button asks for it: the run ends, its trials wait, and a later run gives them back."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    monkeypatch.setenv("HPO_STORAGE", database_url)
    monkeypatch.setenv("HPO_LEASE_SECONDS", "2")
    trainer = (sys.executable, str(Path(__file__).parents[1] / "faults" / "fake_trainer.py"))
    fake = {"log": str(tmp_path / "log"), "hold": str(tmp_path / "hold"), "epoch_seconds": 0.05}
    monkeypatch.setenv("FAKE", json.dumps(fake))
    stops: list[bool] = []

    def stop(study: Any, trial: Any) -> None:
        with engine.begin() as connection:
            found = queries.find_study(connection, "shared")
            assert found is not None
            stops.append(queries.stop_study(connection, found.study_id))

    result = hpo.run(STUDY, timeout="1h", trainers=2, trainer=trainer, on_trial_end=stop)
    assert stops[0]
    assert result.stopped == "deadline"
    assert result.counts["running"] == 0
    assert result.counts["complete"] < 20
    assert result.counts["waiting"] > 0
