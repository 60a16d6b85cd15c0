"""Many light workers in one process: each has its real storage thread and connection, and no loop and no trainer.

What a worker asks of the database is what a host asks: the same storage thread claims, saves, renews and reads with the
same statements, with one trial ahead, as a loop with one slot does. One thread plays the loops and trainers of all.
What costs only the host is left out: proposals are drawn without a sampler, and only the first worker of each process
makes trials of what a read brings.
"""

from __future__ import annotations

import heapq
import queue
import random
import threading
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import TrialState

from benchmarks import simulated
from hpo import NoPruner, Random
from hpo.messages import Epoch
from hpo.sampling.distributions import distribution
from hpo.search.ask_tell import AskTell
from hpo.search.events import FatalError, TrialAssigned
from hpo.search.identity import own_identity
from hpo.search.reaper import Reaper
from hpo.search.storage_thread import StorageThread
from hpo.settings import Settings
from hpo.storage import queries
from hpo.storage.engine import open_engine
from hpo.storage.reads import LARGEST_ID
from hpo.storage.study_cache import StudyCache
from hpo.trainers.trial import Trial

__all__ = ["EPOCHS", "light_workers"]

EPOCHS = 5
LEASE_SECONDS = Settings.lease_seconds
PARAMS = {"lr": 1e-3, "weight_decay": 1e-4, "batch_size": 64, "layers": 2}
METRICS = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "lr": 1e-3}
ATTRIBUTES = {
    "duration": 5.1,
    "packages": {"torch": "2.9.1", "optuna": "5.0.0", "hpo": "0.1.0"},
    "device": "cuda:0",
    "git_commit": "0123456789abcdef0123456789abcdef01234567",
    "metrics": {"val_accuracy": 0.5, "val_loss": 1.0},
}
"""About what a trial of hpo's records when it ends."""


class LightAskTell(AskTell):
    """Asks the database what AskTell asks, and makes no trials of what comes."""

    def synchronise(self, connection: Any, claimed: Any = ()) -> None:
        self.claimed.update(claimed)
        changes = queries.read_changed(connection, self.study_id, self.cache.horizon)
        bare = [each for each, (note, _) in changes.notes.items() if note is None and not self.cache.owns(each)]
        if bare:
            queries.read_changes(connection, self.study_id, LARGEST_ID, bare)
        self.cache.horizon = changes.horizon

    def sample(self, claim: queries.Claim) -> Trial:
        self.cache.start(claim)
        self.claimed.discard(claim.trial_id)
        for name, value in PARAMS.items():
            kind = distribution(simulated.study.rows.searched[name])
            self.cache.set_trial_param(claim.trial_id, name, kind.to_internal_repr(value), kind)
        return Trial(claim.trial_id, claim.number, claim.attempt, {}, {}, "")


class WatchingAskTell(AskTell):
    """A whole AskTell, which looks how old the news is: from a claim elsewhere until its parameters are known here."""

    ages: list[float]

    def synchronise(self, connection: Any, claimed: Any = ()) -> None:
        before = {each for each in self.cache.open_ids() if self.cache.get_trial(each).params}
        super().synchronise(connection, claimed)
        now = time.time()
        for each in self.cache.open_ids():
            trial = self.cache.get_trial(each)
            if trial.params and each not in before and trial.datetime_start is not None:
                self.ages.append(now - trial.datetime_start.timestamp())


class Worker:
    """One slot: a trial under way, one ahead."""

    def __init__(self, place: int, url: str, study_id: int, woken: queue.SimpleQueue[int]) -> None:
        self.place, self.engine = place, open_engine(url)
        study = replace(simulated.study, sampler=Random(), pruner=NoPruner(), epochs=EPOCHS)
        kind = LightAskTell if place else WatchingAskTell
        cache = StudyCache(study_id, study.name, (StudyDirection.MAXIMIZE,))
        self.ask_tell = kind(study, study_id, cache, Path("nowhere"), f"host{place}", 1)
        if isinstance(self.ask_tell, WatchingAskTell):
            self.ask_tell.ages = []
        identity = own_identity()
        with self.engine.begin() as connection:
            cache.horizon = queries.horizon_now(connection)
            queries.register_worker(
                connection, identity.worker_id, study_id, host=identity.host, identity=identity.as_json(), slots=[]
            )
        self.thread = StorageThread(
            self.engine,
            self.ask_tell,
            Reaper(study_id, identity, LEASE_SECONDS / 2),
            worker_id=identity.worker_id,
            lease_seconds=LEASE_SECONDS,
            wake=lambda: woken.put(place),
        )
        self.ahead: list[Trial] = []
        self.trial: Trial | None = None
        self.free_since: float | None = None
        self.error = ""


class Process:
    """Plays the loops and trainers of its workers, whose storage threads are their own."""

    def __init__(self, url: str, study_id: int, count: int, trial_seconds: float) -> None:
        self.woken: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.workers = [Worker(place, url, study_id, self.woken) for place in range(count)]
        self.trial_seconds, self.random = trial_seconds, random.Random(study_id * 1000 + count)
        self.due: list[tuple[float, int, int, float]] = []  # when, worker, epoch, seconds of an epoch
        self.waits: list[float] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            wait = min(0.2, self.due[0][0] - time.monotonic()) if self.due else 0.2
            with suppress(queue.Empty):
                self._hear(self.workers[self.woken.get(timeout=max(1e-4, wait))])
            while self.due and self.due[0][0] <= time.monotonic():
                self._epoch(*heapq.heappop(self.due)[1:])

    def start(self) -> None:
        """One after the other, as hosts come, over the length of a trial."""
        for worker in self.workers:
            worker.thread.start()
            worker.thread.want(2, [])
            time.sleep(self.trial_seconds / len(self.workers))

    def close(self) -> None:
        ends = [threading.Thread(target=worker.thread.close, args=(20.0,)) for worker in self.workers]
        for end in ends:
            end.start()
        for end in ends:
            end.join()
        for worker in self.workers:
            worker.engine.dispose()

    def _hear(self, worker: Worker) -> None:
        while not worker.thread.events.empty():
            event = worker.thread.events.get()
            if isinstance(event, TrialAssigned):
                worker.ahead.append(event.trial)
            if isinstance(event, FatalError):
                worker.error = f"{type(event.error).__name__}: {str(event.error).splitlines()[0]}"
        self._hand_out(worker)

    def _hand_out(self, worker: Worker) -> None:
        if worker.trial is None and worker.ahead:
            worker.trial = worker.ahead.pop(0)
            now = time.monotonic()
            if worker.free_since is not None:
                self.waits.append(now - worker.free_since)
            seconds = self.random.lognormvariate(0.0, 0.5) * self.trial_seconds / EPOCHS
            heapq.heappush(self.due, (now + seconds, worker.place, 1, seconds))
        worker.thread.want((worker.trial is None) + 1 - len(worker.ahead), [])

    def _epoch(self, place: int, epoch: int, seconds: float) -> None:
        worker = self.workers[place]
        trial = worker.trial
        assert trial is not None
        worker.thread.report(trial, Epoch(trial.trial_id, epoch, METRICS, seconds, [(epoch, 0.5)]))
        if epoch < EPOCHS:
            heapq.heappush(self.due, (time.monotonic() + seconds, place, epoch + 1, seconds))
            return
        worker.thread.finish(trial, TrialState.COMPLETE, [self.random.random()], ATTRIBUTES, {})
        worker.trial, worker.free_since = None, time.monotonic()
        self._hand_out(worker)


def light_workers(pipe: Connection, url: str, study_id: int, count: int, trial_seconds: float) -> None:
    """A process of `count` workers. Says "started", measures between "measure" and "stop", and sends what it saw:
    seconds that slots waited, ages of news, errors."""
    process = Process(url, study_id, count, trial_seconds)
    # A daemon: where the parent is gone, `recv` raises, and nothing may keep this process.
    playing = threading.Thread(target=process.run, daemon=True)
    playing.start()
    process.start()
    pipe.send("started")
    pipe.recv()
    process.waits.clear()
    watching = process.workers[0].ask_tell
    ages = watching.ages if isinstance(watching, WatchingAskTell) else []
    ages.clear()
    pipe.recv()
    seen = {"idle": list(process.waits), "ages": list(ages)}
    process.stopping.set()
    playing.join()
    process.close()
    pipe.send({**seen, "errors": [worker.error for worker in process.workers if worker.error]})
