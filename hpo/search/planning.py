"""Which trials this host trains next, where hpo.freeze_thaw decides: what it is told, and what becomes of its answer.

A paused trial is an ordinary one that waits: WAITING, with its parameters, its epochs and its values in the database,
and a checkpoint on disk. Each decision stands in the trial's user attribute `decisions`, with what was believed.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from sqlalchemy.engine import Connection, Engine

from hpo.freeze_thaw.progress import Decision, Progress
from hpo.messages import Epoch
from hpo.search.ending import end_waiting
from hpo.search.events import Counts
from hpo.search.paused import PausedCheckpoints
from hpo.search.standing import Standing
from hpo.storage import queries
from hpo.storage.study_cache import StudyCache
from hpo.storage.trial_record import decisions_of, record_of
from hpo.study.study import Study
from hpo.trainers.trial import Trial

__all__ = ["Planner"]

LOOK_SECONDS = 30.0
"""How often reports are looked for that nobody has noted."""


class Planner:
    """Decides for one host. The storage thread calls everything but `trained` and `paused`, which are the loop's.

    gave_up: trials of this study cannot wait: its sampler and its pruner go on without the planner
    over:    no trial may be begun, and none that waits is worth going on with
    """

    def __init__(
        self, study: Study, study_id: int, cache: StudyCache, kept: PausedCheckpoints, host: str, lease_seconds: float
    ) -> None:
        self.gave_up = self.over = False
        self._study, self._study_id, self._cache, self._kept = study, study_id, cache, kept
        self._host, self._lease_seconds = host, lease_seconds
        # Here: searches of another kind, and every command that reads, do without scipy's optimizers.
        from hpo.freeze_thaw.scheduler import Scheduler

        self._scheduler = Scheduler(
            study.rows, study.epochs, maximize=study.directions[0] == "maximize", repeat=study.repeat
        )
        self._standing = Standing(cache, study_id, study.epochs, baseline_first=study.has_baseline)
        self._planned: list[Decision] = []
        self._claimed: dict[int, Decision] = {}  # by trial id
        self._until: dict[int, int] = {}  # by number, of what this host trains
        self._deadline, self._target = math.inf, math.inf
        self._others: Collection[str] | None = None  # other hosts at work; None while nobody has looked
        self._clocks: dict[int, _Clock] = {}  # by number
        self._note = ""
        cache.all_is_news, self._looked = True, -math.inf  # a plan is made from curves

    # What it is told ----------------------------------------------------------------------------------------------

    def look(self, connection: Connection, counts: Counts) -> None:
        """Take in the study's budget, and see which other hosts work on it."""
        self._deadline = math.inf if counts.seconds_left is None else time.monotonic() + counts.seconds_left
        self._target = math.inf if counts.trials_target is None else counts.trials_target
        workers = queries.at_work(connection, self._study_id, self._lease_seconds)
        self._others = {worker.host for worker in workers} - {self._host}

    def unnoted(self) -> list[int]:
        """Now and then, every open trial of others: hpo notes each report, plain Optuna and a script do not."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        return self._cache.open_ids()

    def trained(self, trial: Trial, message: Epoch) -> None:
        """An epoch of a trial has ended here, or is told again."""
        clock = self._clocks.setdefault(trial.number, _Clock())
        clock.epoch_ended(message)
        if trial.until and message.epoch > trial.until + 1 and not message.replayed:
            self._give_up(trial.number, trial.until)

    def paused(self, trial: Trial) -> None:
        """A trial is put down, to go on later: what every host needs to know of it."""
        self._kept.wrote(trial.number)
        self._cache.set_trial_user_attr(trial.trial_id, "host", self._host)
        clock = self._clocks.pop(trial.number, None)
        if clock is not None and clock.count:
            self._cache.set_trial_user_attr(trial.trial_id, "epoch_seconds", round(clock.seconds / clock.count, 6))

    def completed(self, trial: FrozenTrial) -> None:
        """A trial of this host goes to its end; one that never reported had nothing to wait with."""
        self._clocks.pop(trial.number, None)
        until = self._until.pop(trial.number, self._study.epochs)
        if until < self._study.epochs and not trial.intermediate_values:
            self._give_up(trial.number, until)

    def take_note(self) -> str:
        """What the user should know, once; "" if there is nothing."""
        note, self._note = self._note, ""
        return note

    def _give_up(self, number: int, until: int) -> None:
        if self.gave_up:
            return
        self.gave_up = True
        own = "its function gives nothing to run.resume(...), or reports nothing, or "
        self._note = (
            f"FreezeThaw() cannot pause trial {number}, which went on after epoch {until}:"
            f" {own if self._study.train is not None else ''}no checkpoint could be written; from now on"
            f" {self._study.sampler} proposes, and {self._study.pruner} ends trials early"
        )

    # What it decides ----------------------------------------------------------------------------------------------

    def plan(self, wanted: int, room: int) -> None:
        """Decide about `wanted` free slots, in place of what was decided before and not claimed. At most `room` new
        trials may begin: there are no more configurations that none has had."""
        self._planned = []
        trials, begun = self._trials(), 0
        for _ in range(wanted):
            decision = self._scheduler.decide(
                trials,
                self._draw(trials),
                seconds_left=self._deadline - time.monotonic(),
                may_begin=len(trials) < self._target and begun < room,
            )
            if decision is None:
                break
            self._planned.append(decision)
            begun += decision.number is None
            trials = _carried_out(trials, decision)
        training = any(trial.until for trial in trials)
        self.over = not (self._planned or training) and (len(trials) >= self._target or not room)

    def claim(self, connection: Connection, worker_id: str) -> list[queries.Claim]:
        """Lease what was planned, but for what another host was first to take."""
        going_on = {self._id_of(plan.number): plan for plan in self._planned if plan.number is not None}
        new = [plan for plan in self._planned if plan.number is None]
        self._planned = []
        if not going_on and not new:
            return []
        where = self._study_id, worker_id, self._host, self._lease_seconds
        claims = queries.claim_these(connection, *where, list(going_on), len(new))
        for claim in claims:
            self._claimed[claim.trial_id] = new.pop(0) if claim.fresh else going_on[claim.trial_id]
        return claims

    def params(self, trial_id: int) -> Mapping[str, Any]:
        """The parameters of a trial that was claimed here; {} for one that nothing was decided about."""
        decision = self._claimed.get(trial_id)
        return {} if decision is None else decision.params

    def begin(self, claim: queries.Claim) -> int:
        """The trial is this host's own now: note the decision with it. Returns the epoch after which it waits, or 0."""
        decision = self._claimed.pop(claim.trial_id, None)
        if decision is None:
            return 0
        self._until[claim.number] = decision.until
        trial = self._cache.get_trial(claim.trial_id)
        earlier = decisions_of(trial)
        self._cache.set_trial_user_attr(claim.trial_id, "decisions", [*earlier, _written(trial, decision)])
        return decision.until if decision.until < self._study.epochs else 0

    def end_waiting(self, engine: Engine, worker_id: str) -> int:
        """End every trial that has begun and waits, and remove its checkpoint. Returns how many."""
        waiting = [trial for trial in self._standing.waiting() if trial.intermediate_values]
        claimed = partial(
            queries.claim_these, study_id=self._study_id, worker_id=worker_id, host=self._host,
            lease_seconds=self._lease_seconds, new=0,
        )  # fmt: skip
        ended = end_waiting(engine, self._study, waiting, claimed, worker_id) if waiting else []
        for number in ended:
            self._kept.remove(number)
        return len(ended)

    def _trials(self) -> list[Progress]:
        """Where every trial stands, with what can go on here."""
        waiting = {trial.number: trial for trial in self._standing.waiting()}
        trials = self._standing.trials(self._until)
        best_first = sorted(
            (trial for trial in trials if trial.waits and len(trial.values)),
            key=lambda trial: _rank(trial, maximize=self._study.directions[0] == "maximize"),
        )
        self._kept.keep_within_bound([trial.number for trial in best_first])
        return [self._here(trial, waiting.get(trial.number)) for trial in trials]

    def _here(self, trial: Progress, waiting: FrozenTrial | None) -> Progress:
        """With the seconds that were seen here, and whether this host has the checkpoint of one that waits."""
        clock = self._clocks.get(trial.number)
        if clock is not None and clock.count and not math.isfinite(trial.seconds):
            trial = replace(trial, seconds=clock.seconds / clock.count)
        if not trial.waits or not len(trial.values) or self._kept.has(trial.number):
            return trial
        host = "" if waiting is None else str(record_of(waiting).get("host", ""))
        elsewhere = host not in ("", self._host) and (self._others is None or host in self._others)
        return replace(trial, held=elsewhere, lost=not elsewhere)

    def _draw(self, trials: Sequence[Progress]) -> np.random.Generator:
        """Other numbers for each decision and each host; the same for a study that stands the same."""
        stands = sum(len(trial.values) + trial.until for trial in trials)
        return np.random.default_rng([self._study.seed, zlib.crc32(self._host.encode()), len(trials), stands])

    def _id_of(self, number: int) -> int:
        return self._cache.get_trial_id_from_study_id_trial_number(self._study_id, number)


class _Clock:
    """What the epochs of one trial take here, with validation and whatever else stands between two of them."""

    def __init__(self) -> None:
        self.seconds, self.count = 0.0, 0
        self._last: tuple[int, float] | None = None

    def epoch_ended(self, message: Epoch) -> None:
        now = time.monotonic()
        follows = self._last is not None and self._last[0] == message.epoch - 1 and not message.replayed
        seconds = now - self._last[1] if follows and self._last is not None else message.seconds
        self._last = None if message.replayed else (message.epoch, now)
        if math.isfinite(seconds):
            self.seconds, self.count = self.seconds + seconds, self.count + 1


def _carried_out(trials: list[Progress], decision: Decision) -> list[Progress]:
    """The trials as they stand once `decision` is carried out."""
    if decision.number is None:
        number = max((trial.number for trial in trials), default=-1) + 1
        return [*trials, Progress(number, decision.params, until=decision.until)]
    return [replace(trial, until=decision.until) if trial.number == decision.number else trial for trial in trials]


def _rank(trial: Progress, *, maximize: bool) -> tuple[float, int]:
    finite = [value for value in trial.values if math.isfinite(value)]
    best = (max(finite) if maximize else -min(finite)) if finite else -math.inf
    return -best, trial.number


def _written(trial: FrozenTrial, decision: Decision) -> dict[str, Any]:
    """A decision as the trial keeps it, for people."""
    stands = max(trial.intermediate_values, default=0)
    belief = {} if decision.belief is None else asdict(decision.belief)
    rounded = {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in belief.items()}
    return {"after": stands, "until": decision.until, **({"why": decision.why} if decision.why else {}), **rounded}
