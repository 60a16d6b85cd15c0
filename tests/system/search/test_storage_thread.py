"""The storage thread without a loop: what it does when the database does not answer, and what it gives away."""

from __future__ import annotations

from pathlib import Path

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine, text

from hpo.search import loop, reporting, search, tensorboard
from hpo.search.ask_tell import AskTell
from hpo.search.events import DatabaseUnavailable, TrialAssigned
from hpo.search.identity import own_identity
from hpo.search.reaper import Reaper
from hpo.search.storage_thread import StorageThread
from hpo.storage import queries
from hpo.storage.engine import open_engine
from hpo.storage.study_cache import StudyCache
from hpo.study.discovery import find_study


class Remembering(Reaper):
    """Says when it was told to forget."""

    forgot = False

    def forget(self) -> None:
        super().forget()
        self.forgot = True


def test_an_outage_makes_the_reaper_forget_what_it_saw_before(tmp_path: Path) -> None:
    """A lease seen run out just before, and not renewed since because nobody could, is not to be reaped at once."""
    study = find_study("mlp_digits").study
    ask_tell = AskTell(study, 1, StudyCache(1, study.name, (StudyDirection.MAXIMIZE,)), tmp_path, "host", 1)
    reaper = Remembering(1, own_identity(), 1.0)
    nobody = open_engine("postgresql://nobody@127.0.0.1:1/none")
    thread = StorageThread(nobody, ask_tell, reaper, worker_id="w", lease_seconds=60.0, wake=lambda: None)
    thread.start()
    assert isinstance(thread.events.get(timeout=30), DatabaseUnavailable)
    assert reaper.forgot
    thread.close(0.0)


def test_the_loop_cannot_reach_the_study_in_memory_but_through_this_thread(tmp_path: Path) -> None:
    """Neither it nor what it tells people imports the cache or what samples on it, and no public name leads there."""
    for module in (loop, reporting, search, tensorboard):
        assert not {"AskTell", "StudyCache"} & vars(module).keys(), module.__name__
    study = find_study("mlp_digits").study
    ask_tell = AskTell(study, 1, StudyCache(1, study.name, (StudyDirection.MAXIMIZE,)), tmp_path, "host", 1)
    nobody = open_engine("postgresql://nobody@127.0.0.1:1/none")
    thread = StorageThread(
        nobody, ask_tell, Reaper(1, own_identity(), 1.0), worker_id="w", lease_seconds=60.0, wake=lambda: None
    )
    public = [value for name, value in vars(thread).items() if not name.startswith("_")]
    assert not [value for value in public if isinstance(value, AskTell | StudyCache)]


def test_signing_off_gives_back_a_trial_that_many_hosts_were_lost_under(engine: Engine, tmp_path: Path) -> None:
    """Nine hosts vanished under it, and this one leaves in good order before training it: it waits for the next."""
    study = find_study("mlp_digits").study
    with engine.begin() as c:
        study_id = queries.create_study(c, study.name, (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="s", seed=0, facts={"uid": "u"})
        [claim] = queries.claim(c, study_id, "lost", "host", 30.0, 1)
        queries.sign_off(c, "lost")
        c.execute(text("UPDATE hpo_leases SET attempt = 12, trainer_deaths = 2"))
        cache = StudyCache(study_id, study.name, (StudyDirection.MAXIMIZE,))
        cache.apply(queries.read_changes(c, study_id))
    ask_tell = AskTell(study, study_id, cache, tmp_path, "host", 1)
    reaper = Reaper(study_id, own_identity(), 60.0)
    thread = StorageThread(engine, ask_tell, reaper, worker_id="w", lease_seconds=60.0, wake=lambda: None)
    thread.want(1, [])
    thread.start()
    while not isinstance(event := thread.events.get(timeout=30), TrialAssigned):
        pass
    assert (event.trial.trial_id, event.trial.attempt) == (claim.trial_id, 12)
    assert not thread.close(30.0)
    with engine.connect() as c:
        [trial] = queries.read_changes(c, study_id)
        assert (trial.state, c.execute(text("SELECT attempt FROM hpo_leases")).scalar_one()) == (TrialState.WAITING, 12)
