"""The storage thread without a loop: what it does when the database does not answer, and what it gives away."""

from __future__ import annotations

from pathlib import Path

from optuna.study import StudyDirection

from hpo.search import loop, reporting, search, tensorboard
from hpo.search.ask_tell import AskTell
from hpo.search.events import DatabaseUnavailable
from hpo.search.identity import own_identity
from hpo.search.reaper import Reaper
from hpo.search.storage_thread import StorageThread
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
