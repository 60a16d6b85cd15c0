"""Failed trials tried again: which, when, and what is left of the failure."""

from __future__ import annotations

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from hpo.errors import StudyError
from hpo.search.identity import own_identity
from hpo.search.open_study import _others
from hpo.search.retry import check_alone, try_again
from hpo.storage import queries
from hpo.storage.queries import EpochRow, TrialResult, WriteBatch
from hpo.storage.trial_record import record_of
from hpo.study.discovery import find_study

STUDY = find_study("mlp_digits").study


@pytest.fixture
def study_id(engine: Engine, database_url: str) -> int:
    """Trial 0, the baseline, and 1 failed by a bug under worker w, whose code is not known; 2 was failed by hand."""
    with engine.begin() as c:
        study_id = queries.create_study(c, STUDY.name, (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="s", seed=0, facts={"uid": "u"})
        queries.register_worker(c, "w", study_id, host="host", identity={}, slots=[], code="old")
        queries.keep_sources(c, "old", {"hpo/training/fit.py": "another digest"})
        claims = queries.claim(c, study_id, "w", "host", 30, 3)
        writes = WriteBatch()
        for claim in claims[:2]:
            writes.epoch(EpochRow(claim.trial_id, 1, val_loss=1.0))
            writes.report(claim.trial_id, 1, 0.5)
            record = {"worker": "w", "failure": {"kind": "failed", "reason": "a bug"}, "epochs": 1, "mine": "kept"}
            writes.set_system_attr(claim.trial_id, "completed_rung_0", 0.5)
            for key, value in (record | ({"origin": "baseline"} if claim.number == 0 else {})).items():
                writes.set_user_attr(claim.trial_id, key, value)
            writes.finish(TrialResult(claim.trial_id, TrialState.FAIL))
        queries.save(c, writes, "w")
    optuna.load_study(study_name=STUDY.name, storage=database_url).tell(2, state=TrialState.FAIL)
    return study_id


def trials(engine: Engine, study_id: int) -> list[FrozenTrial]:
    with engine.begin() as c:
        return queries.read_changes(c, study_id)


def test_every_trial_that_failed_by_itself_waits_as_if_it_had_never_been_trained(engine: Engine, study_id: int) -> None:
    """One that somebody failed by hand stays so, and what hpo did not record stays with its trial."""
    with engine.begin() as c:
        assert try_again(c, STUDY, study_id, everything=True) == "tried again: 2 failed trials (0, 1)"
    found = trials(engine, study_id)
    assert [trial.state.name for trial in found] == ["WAITING", "WAITING", "FAIL"]
    for trial in found[:2]:
        record = record_of(trial)
        assert "failure" not in record
        assert "epochs" not in record
        assert record["earlier_failure"]["reason"] == "a bug"
        assert trial.user_attrs["mine"] == "kept"
        assert "completed_rung_0" not in trial.system_attrs
        assert not trial.intermediate_values
        assert trial.datetime_complete is None
    assert record_of(found[0])["origin"] == "baseline"
    with engine.begin() as c:
        assert c.execute(text("SELECT count(*) FROM hpo_epochs")).scalar_one() == 0
        assert [claim.number for claim in queries.claim(c, study_id, "v", "host", 30, 2, new=False)] == [0, 1]


def test_only_the_baseline_is_tried_again_unasked_and_only_with_other_code(engine: Engine, study_id: int) -> None:
    with engine.begin() as c:
        said = try_again(c, STUDY, study_id, everything=False)
    assert said.startswith("the baseline failed with other code: it is tried again; 1 failed trial (1) ")
    assert [trial.state.name for trial in trials(engine, study_id)] == ["WAITING", "FAIL", "FAIL"]
    with engine.begin() as c:
        c.execute(text("UPDATE hpo_sources SET files = '{}'"))
        assert try_again(c, STUDY, study_id, everything=False) == ""


def test_nothing_is_put_back_under_those_who_know_it_as_failed(engine: Engine, study_id: int) -> None:
    with engine.begin() as c, pytest.raises(StudyError, match="has an active run"):
        check_alone(
            STUDY, queries.at_work(c, study_id, 30.0), "its failed trials cannot be tried again", "--retry-failed"
        )


def test_a_trial_refused_for_what_another_hand_wrote_is_not_tried_again(engine: Engine, study_id: int) -> None:
    with engine.begin() as c:
        c.execute(text("UPDATE trial_user_attributes SET value_json = replace(value_json, '\"failed\"', '\"refused\"')"
                       " WHERE key = 'failure'"))  # fmt: skip
        assert try_again(c, STUDY, study_id, everything=True) == ""


@pytest.mark.parametrize("target", [1, 2, 3])
def test_a_number_of_trials_that_leaves_none_to_try_again_is_refused(
    engine: Engine, study_id: int, target: int
) -> None:
    """Of three finished trials two failed by themselves: with one asked for, none of them would be trained."""
    with engine.begin() as c:
        if target > 1:
            assert try_again(c, STUDY, study_id, everything=True, target=target)
            return
        with pytest.raises(StudyError, match="leaves no failed trial") as refused:
            try_again(c, STUDY, study_id, everything=True, target=target)
    assert refused.value.next == "--trials 3 tries them again"
    assert [trial.state.name for trial in trials(engine, study_id)] == ["FAIL", "FAIL", "FAIL"]


def test_nobody_joins_while_a_run_looks_who_is_at_work(engine: Engine, study_id: int) -> None:
    """Else a worker that opens the study at that moment would know as failed what is put back."""
    with engine.begin() as first, engine.connect() as second:
        assert [each.worker_id for each in _others(first, study_id, own_identity(), "", 30.0)] == ["w"]
        second.execute(text("SET lock_timeout = '200ms'"))
        with pytest.raises(OperationalError, match="lock timeout"):
            _others(second, study_id, own_identity(), "", 30.0)


def test_a_run_that_opens_its_study_a_second_time_is_not_another(engine: Engine, study_id: int) -> None:
    with engine.begin() as c:
        assert _others(c, study_id, own_identity(), "w", 30.0) == []
