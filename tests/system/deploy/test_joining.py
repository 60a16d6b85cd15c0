"""Several hosts and one study: what a newcomer is refused, and what it is not allowed to change."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import hpo
from hpo import Float, Int, NoPruner, Random, Study
from hpo.errors import CodeMismatch, DeclarationChanged, StudyError
from hpo.search.code import code_digest
from hpo.search.identity import own_identity
from hpo.search.open_study import OpenOptions, open_study, prepare_study
from hpo.storage import queries
from hpo.study.discovery import FoundStudy

ROOT = Path(__file__).resolve().parents[3]
FACTS = {"git_commit": "a" * 40}


def found(**changes: Any) -> FoundStudy:
    fields: dict[str, Any] = {
        "name": "shared",
        "dataset": "digits",
        "model": "shallow",
        "space": {"batch_size": Int(32, 64), "hidden_units": Int(8, 32), "lr": Float(1e-3, 1e-1, log=True)},
        "baseline": {"batch_size": 64, "hidden_units": 16, "lr": 1e-2},
        "epochs": 2,
        "pruner": NoPruner(),
        "sampler": Random(),
    }
    return FoundStudy(Study(**(fields | changes)), Path(__file__))


def host(name: str) -> Any:
    """A process of another machine."""
    return replace(own_identity(), host=name, boot_id=f"boot of {name}")


def join(engine: Engine, name: str, which: FoundStudy | None = None, facts: Any = None, **options: Any) -> Any:
    return open_study(engine, which or found(), OpenOptions(), f"{name}:1", host(name), facts or FACTS, **options)


def test_a_host_with_other_code_is_refused_and_both_commits_are_named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of one study must come from one code; the way out is said."""
    join(engine, "first")
    monkeypatch.setattr("hpo.search.open_study.code_digest", lambda study: "0" * 16)
    with pytest.raises(CodeMismatch) as refused:
        join(engine, "second", facts={"git_commit": "b" * 40})
    shown = str(refused.value)
    assert "a" * 40 in shown
    assert "b" * 40 in shown
    assert refused.value.exit_code == 3
    with engine.connect() as connection:
        assert [worker.host for worker in queries.list_workers(connection)] == ["first"], "the refused one left a trace"


@pytest.mark.parametrize(
    "ended", ["UPDATE hpo_workers SET state = 'gone'", "UPDATE hpo_workers SET seen_at = now() - interval '2 minutes'"]
)
def test_only_workers_that_still_run_count_against_new_code(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    """After an upgrade the study goes on: nobody is left who runs the old code."""
    join(engine, "first")
    with engine.begin() as connection:
        connection.execute(text(ended))
    monkeypatch.setattr("hpo.search.open_study.code_digest", lambda study: "0" * 16)
    join(engine, "second")


def test_the_digest_follows_the_sources_and_not_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own model counts too: a changed line changes the digest, another place does not."""
    digests = []
    for place, source in (("one", "WIDTH = 1\n"), ("two", "WIDTH = 1\n"), ("three", "WIDTH = 2\n")):
        folder = tmp_path / place
        folder.mkdir()
        (folder / "their_model.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        study = found(model=replace(found().study.model_row, builder="their_model:build")).study
        digests.append(code_digest(study))
    assert digests[0] == digests[1] != digests[2]


def test_two_different_studies_of_one_name_cannot_share_it_even_when_they_start_together(
    engine: Engine,
) -> None:
    """Of two hosts that race, one makes the study and the other is refused with the row that differs."""
    refused: list[DeclarationChanged] = []
    opened: list[str] = []
    barrier = threading.Barrier(2)

    def start(name: str, which: FoundStudy) -> None:
        barrier.wait()
        try:
            join(engine, name, which)
            opened.append(name)
        except DeclarationChanged as error:
            refused.append(error)

    both = {"first": found(), "second": found(epochs=3)}
    threads = [threading.Thread(target=start, args=each) for each in both.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == len(refused) == 1
    assert refused[0].exit_code == 3
    assert any("(epochs)" in line for line in refused[0].evidence)


def test_a_deadline_that_runs_is_not_put_off_and_a_used_up_one_begins_anew(engine: Engine) -> None:
    """`docker compose up` runs the schema step every time; only the first counts, until the time is over."""
    once = OpenOptions(budget="once", timeout_seconds=100.0)
    first = prepare_study(engine, found(), once, FACTS).budget
    again = prepare_study(engine, found(), replace(once, timeout_seconds=5000.0, trials_target=7), FACTS).budget
    assert first.seconds_left is not None
    assert again.seconds_left is not None
    assert again.seconds_left <= first.seconds_left <= 100.0
    assert again.trials_target == 7, "a number of trials means the same whenever it is said"
    assert prepare_study(engine, found(), once, FACTS).budget.trials_target == 7
    with engine.begin() as connection:
        connection.execute(text("UPDATE hpo_studies SET deadline = now() - interval '1 second'"))
    anew = prepare_study(engine, found(), once, FACTS).budget
    assert anew.seconds_left is not None
    assert anew.seconds_left > 99.0
    assert anew.trials_target is None


def test_a_worker_is_refused_a_study_that_nobody_has_started(
    database_url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    with pytest.raises(StudyError, match='has no study "shared"'):
        hpo.run(found(), worker=True, trainers=1, storage=database_url)


def test_a_worker_that_joins_a_finished_study_leaves_at_once_and_changes_nothing(
    database_url: str, engine: Engine, tmp_path: Path, monkeypatch: Any
) -> None:
    """It ends with 0, as one that came in time, so an engine that restarts failures leaves it alone."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    hpo.run(found(), trainers=1, trials=2, storage=database_url)
    late = hpo.run(found(), worker=True, trainers=1, storage=database_url)
    assert (late.stopped, late.exit_code, late.counts["complete"]) == ("trials", 0, 2)


def test_a_worker_leaves_after_its_own_time_and_the_study_goes_on(
    database_url: str, engine: Engine, tmp_path: Path, monkeypatch: Any
) -> None:
    """A batch job's limit is no deadline of the study."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    long = found(epochs=100_000)
    before = prepare_study(engine, long, OpenOptions(timeout_seconds=3600.0), FACTS).budget
    result = hpo.run(long, worker=True, trainers=1, timeout=3.0, storage=database_url)
    assert result.stopped == "deadline"
    with engine.connect() as connection:
        after = queries.budget(connection, 1)
    assert before.seconds_left is not None
    assert after.seconds_left is not None
    assert after.deadline == before.deadline
    assert after.finished == 0


def test_a_host_whose_clock_is_an_hour_off_changes_nothing_about_deadlines_and_leases(
    database_url: str, engine: Engine, tmp_path: Path
) -> None:
    """Every time comes from the database: its trials are dated now, and the study has the time it was given."""
    arguments = ["hpo", "run", "--study", "tiny:study", "--trials", "2", "--timeout", "30m"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'system' / 'deploy'}",
        "HPO_HOME": str(tmp_path),
        "HPO_STORAGE": database_url,
        "HPO_DEVICES": "cpu",
        "HPO_TRAINERS": "1",
    }
    program = f"{_AN_HOUR_FAST}\nsys.argv = {arguments}\nrunpy.run_module('hpo', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with engine.connect() as connection:
        dated = connection.execute(
            text(
                "SELECT count(*), max(abs(extract(epoch FROM now() AT TIME ZONE 'utc' - datetime_complete))),"
                " max(abs(extract(epoch FROM now() AT TIME ZONE 'utc' - datetime_start)))"
                " FROM trials WHERE state = 'COMPLETE'"
            )
        ).one()
        left = queries.budget(connection, 1).seconds_left
    assert dated[0] == 2
    assert max(dated[1], dated[2]) < 600, "a trial is dated by the host's clock"
    assert left is not None
    assert left < 1800


_AN_HOUR_FAST = """
import datetime, runpy, sys, time
real = time.time
time.time = lambda: real() + 3600
class Fast(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(hours=1)
    @classmethod
    def utcnow(cls):
        return super().utcnow() + datetime.timedelta(hours=1)
datetime.datetime = Fast
"""
