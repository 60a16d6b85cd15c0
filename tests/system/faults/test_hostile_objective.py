"""Whoever may write to every table can do no more to a study of the user's own function. See test_hostile.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import optuna
import pytest
from hostile import (
    OBJECTIVE,
    ODD,
    READERS,
    RECORD,
    TEXTS,
    Attack,
    Commands,
    altered,
    columns_of,
    columns_with,
    database_of,
    rotated,
    write,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutate
from sqlalchemy import text
from sqlalchemy.engine import URL
from world import World

pytestmark = pytest.mark.timeout(300)  # a run here ends in seconds, and after two minutes says what it waited for


@pytest.fixture(scope="module")
def seeded_objective(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same for a function of the user's own, whose trials no rows say anything of: enough of them for TPE."""
    name = f"objective{uuid4().hex[:8]}"
    with database_of(postgres_server.set(database="ready").render_as_string(hide_password=False), name) as url:
        world = World(url=url, folder=tmp_path_factory.mktemp("objective"), study=OBJECTIVE[1], fake=None)
        world.run("--trials", "14", "--direction", "minimize", "--trainers", "1")
        study = optuna.load_study(study_name=OBJECTIVE[0], storage=optuna.storages.RDBStorage(url))
        study.enqueue_trial({"x": 0.01})
        study.enqueue_trial({"x": "many", "layers": 99, "kind": [1]})
        study._storage.remove_session()
        study._storage._backend.engine.dispose()
        yield url


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    return Attack(tmp_path)


@pytest.fixture
def commands(attack: Attack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(attack, monkeypatch, capsys, OBJECTIVE)


@pytest.mark.parametrize("shift", range(2))
def test_a_search_of_an_objective_goes_on_whatever_stands_in_every_column_but_its_record(
    seeded_objective: str, attack: Attack, commands: Commands, shift: int
) -> None:
    """Texts, numbers and moments at once: there are no rows that others' values could be held against."""
    texts = attack.texts[:-1]
    with database_of(seeded_objective, "hostile_objective") as url:
        with altered(url) as connection:
            for index, column in enumerate(columns_with(connection, (*TEXTS, *ODD))):
                if column.table not in (*RECORD, "alembic_version", "hpo_schema"):
                    write(connection, column, rotated(ODD.get(column.kind, texts), index + shift * 9))
            connection.execute(text("UPDATE hpo_workers SET seen_at = now() - interval '1 hour'"))
        said = commands.run(url, 3, f"everything, shifted by {shift}", timeout="2m", ends=True)
        # Trials that somebody took out of the study are missing from its target, and their numbers are not given again.
        assert "all trials are done" in said or "nothing is left to try" in said, said
        for command in ("status", "trials json", "best", "report", "reproduce", "evaluate")[shift::2]:
            commands(command, url, f"after the search, shifted by {shift}")


@pytest.mark.parametrize("state", ["WAITING", "RUNNING"])
def test_a_trial_without_a_number_of_optunas_keeps_no_run_waiting(
    seeded_objective: str, commands: Commands, state: str
) -> None:
    """It is never claimed; the trials that were taken out of the study keep the target from being reached."""
    with database_of(seeded_objective, "hostile_objective") as url:
        with altered(url) as connection:
            ids = list(connection.execute(text("SELECT trial_id FROM trials ORDER BY trial_id")).scalars())
            odd = {"state": state, "odd": ids[3], "out": ids[:3]}
            connection.execute(text("UPDATE trials SET state = :state, number = NULL WHERE trial_id = :odd"), odd)
            connection.execute(text("UPDATE trials SET study_id = NULL WHERE trial_id = ANY(:out)"), odd)
        said = commands.run(url, 2, f"a {state} trial without a number", timeout="60s", ends=True)
        assert "nothing is left to try" in said, said


def test_a_trial_whose_id_is_as_large_as_its_number_keeps_no_run_waiting(
    seeded_objective: str, commands: Commands
) -> None:
    """Once nothing refers to it, its id may be changed, too; new trials would be numbered from it on."""
    with database_of(seeded_objective, "hostile_objective") as url:
        with altered(url) as connection:
            waiting = connection.execute(text("SELECT max(trial_id) FROM trials WHERE state = 'WAITING'")).scalar_one()
            connection.execute(text("DELETE FROM trial_system_attributes WHERE trial_id = :id"), {"id": waiting})
            odd = {"id": waiting, "largest": 2**31 - 1, "number": 2**30 - 9}
            connection.execute(
                text("UPDATE trials SET trial_id = :largest, number = :number WHERE trial_id = :id"), odd
            )
        commands.run(url, 1, "a trial with the largest id", timeout="60s", ends=True)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_mutation_of_an_objectives_study_runs_anything_or_is_called_a_bug(
    seeded_objective: str, attack: Attack, commands: Commands, data: st.DataObject
) -> None:
    """As above, for the commands that read: a run loads torch, which is most of the time of such a test."""
    columns = columns_of(seeded_objective)
    with database_of(seeded_objective, "hostile_objective") as url:
        mutate(url, columns, attack, data)
        command = data.draw(st.sampled_from(READERS))
        commands(command, url, f"{command} on a mutated database")
