"""When a trial is taken from a holder that has fallen silent."""

from __future__ import annotations

from dataclasses import replace

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine, text

from hpo.search.identity import own_identity
from hpo.search.reaper import Reaper
from hpo.storage import queries


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def expired_trial(engine: Engine) -> int:
    """A study with one trial whose lease has run out."""
    with engine.begin() as c:
        study_id = queries.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        queries.claim(c, study_id, "silent", "host", 30, 1)
        c.execute(text("UPDATE hpo_leases SET expires_at = now() - interval '1 s'"))
    return study_id


def freed(engine: Engine, reaper: Reaper) -> int:
    with engine.begin() as c:
        return reaper.visit(c)


def test_a_lease_is_reaped_only_after_a_grace_in_which_it_did_not_change(engine: Engine) -> None:
    clock = Clock()
    reaper = Reaper(expired_trial(engine), own_identity(), 10.0, clock)
    assert freed(engine, reaper) == 0
    clock.now = 9.0
    assert freed(engine, reaper) == 0
    clock.now = 10.0
    assert freed(engine, reaper) == 1


def test_an_outage_begins_the_grace_anew(engine: Engine) -> None:
    """On the first pass after an outage every lease looks run out, those of healthy hosts too."""
    clock = Clock()
    reaper = Reaper(expired_trial(engine), own_identity(), 10.0, clock)
    assert freed(engine, reaper) == 0
    reaper.forget()  # the database was away
    clock.now = 60.0
    assert freed(engine, reaper) == 0
    clock.now = 70.0
    assert freed(engine, reaper) == 1


def test_ten_hosts_lost_without_an_epoch_give_a_trial_up(engine: Engine) -> None:
    """Not three, as with trainers: a host has its own reasons to go."""
    study_id = expired_trial(engine)
    for lost in range(1, 11):
        assert freed(engine, Reaper(study_id, own_identity(), 0.0)) == 1
        with engine.begin() as c:
            [trial] = queries.read_changes(c, study_id)
            assert trial.state is (TrialState.FAIL if lost == 10 else TrialState.WAITING), lost
            queries.claim(c, study_id, "silent", "host", -1.0, 1, new=False)
    assert trial.user_attrs["failure"]["kind"] == "attempts"


def test_two_machines_of_one_name_leave_each_other_their_trials(engine: Engine) -> None:
    """Clones, or a fixed hostname in a compose file: neither frees what the other trains, nor calls it gone."""
    here = replace(own_identity(), machine_id="of the image")
    namesake = replace(here, boot_id="of the other machine")
    with engine.begin() as c:
        study_id = queries.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        for worker, identity in (("here", here), ("there", namesake)):
            queries.register_worker(c, worker, study_id, host=here.host, identity=identity.as_json(), slots=[])
            queries.claim(c, study_id, worker, here.host, 30, 1)
    for identity in (here, namesake):
        with engine.begin() as c:
            assert Reaper(study_id, identity, 0.0).free_the_dead(c, 30.0) == 0
            assert [worker.state for worker in queries.list_workers(c, study_id)] == ["running"] * 2


def test_a_worker_that_was_taken_for_gone_and_is_heard_of_is_at_work_again(engine: Engine) -> None:
    with engine.begin() as c:
        study_id = queries.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        queries.register_worker(c, "w", study_id, host="host", identity={}, slots=[])
        queries.release_worker(c, "w", 10)
        assert not queries.at_work(c, study_id, 30.0)
        queries.renew(c, "w", 30.0)
        assert [worker.worker_id for worker in queries.at_work(c, study_id, 30.0)] == ["w"]
