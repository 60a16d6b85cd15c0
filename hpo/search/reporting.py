"""What people see of a run: a snapshot a few times a second, and a line for each event worth one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.messages import Epoch
from hpo.results.best import best_trial
from hpo.search.budget import described
from hpo.search.events import Counts
from hpo.search.findings import LiveFindings
from hpo.search.listening import Listeners
from hpo.search.open_study import directions_of
from hpo.search.outcomes import Outcome
from hpo.search.storage_thread import StorageThread
from hpo.seeds import trial_seed
from hpo.storage.optuna_schema import STATES
from hpo.storage.trial_record import TrialRecord, make_record, record_of
from hpo.study.length import epochs_of
from hpo.study.study import Study
from hpo.trainers.slot import Slot
from hpo.trainers.snapshot import Best, Snapshot
from hpo.trainers.trial import Trial
from hpo.user_code import described_bug
from hpo.wording import params_text, score

__all__ = ["SearchProgress"]

SNAPSHOT_SECONDS = 0.25


class SearchProgress:
    """Watches a run and calls `on_snapshot` and `on_notice`. Only the loop's thread uses it.

    facts: of this host and code (git commit, worker), recorded on every trial that ends here
    """

    def __init__(
        self,
        study: Study,
        storage_thread: StorageThread,
        facts: Mapping[str, Any],
        listeners: Listeners | None = None,
        on_snapshot: Callable[[Snapshot], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self._study = study
        self._storage_thread = storage_thread
        self._facts = dict(facts)
        self._listeners = listeners or Listeners()
        self._on_snapshot = on_snapshot
        self._on_notice = on_notice
        self._began = time.monotonic()
        self._shown = 0.0
        self._best: Best | None = None
        self._leader: FrozenTrial | None = None
        self._revision = 0
        self._live_counts = storage_thread.live_counts()
        self._findings = LiveFindings(study, self.notice)
        self._blind = False

    @property
    def baseline(self) -> Mapping[str, float]:
        """The metrics of the baseline, trial 0; empty until it is done."""
        for trial in self._storage_thread.trials()[:1]:
            return record_of(trial).get("metrics", {})
        return {}

    def record(self, slot: Slot, trial: Trial, said: TrialRecord) -> TrialRecord:
        """What is kept of a trial that ended: where and with what it ran, beside what it `said` itself.

        Its trainer's ways are those of a trial that said nothing, such as a pruned one, unless it is the user's own.
        """
        ready = slot.ready
        ways = TrialRecord(kernels=ready.kernels["choice"]) if ready and ready.kernels and not self._study.own else {}
        here = TrialRecord(
            seed=trial_seed(self._study.seed, trial.number),
            device=slot.spec.device,
            device_name=ready.device_name if ready else "",
            versions=ready.versions if ready else {},
            seconds=round(slot.seconds, 3),
        )
        return make_record(ways, said, self._facts, here)

    def best(self) -> Best | None:
        """The best trial of all hosts so far, as far as this one knows."""
        changed, self._revision = self._storage_thread.finished_since(self._revision)
        self._live_counts.update(changed)
        if changed:
            leader = self._leader
            taken_back = leader is not None and any(trial.number == leader.number for trial in changed)
            contenders = self._storage_thread.trials() if leader is None or taken_back else [leader, *changed]
            self._leader = found = best_trial(contenders, directions_of(self._study))
            self._best = Best(found.number, found.values[0], found.params) if found and found.values else None
        return self._best

    def notice(self, text: str) -> None:
        if self._on_notice is not None and text:
            self._on_notice(text)

    def counted(self, before: Counts, now: Counts) -> None:
        """Take in new counts. Tells the user if another process changed the budget meanwhile."""
        moved = now.until != before.until and not _same_moment(now.until, before.until)
        if before.asked and (moved or now.trials_target != before.trials_target):
            was = described(before.until, before.trials_target)
            self.notice(
                f"another process changed the budget: now {described(now.until, now.trials_target)}, before {was}"
            )

    def epoch(self, trial: Trial, message: Epoch) -> None:
        """Take in an epoch. Nothing to print on a terminal; listeners and subclasses write it elsewhere."""
        if not message.replayed:
            metrics = {**message.metrics, **message.own}
            self._listeners.tell("step", trial.number, dict(trial.params), message.epoch, metrics)

    def close(self) -> None:
        """The run is over. Nothing to do here; subclasses finish what they write."""

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """A trial ended here: one line, and another when it is the best so far."""
        before = self._best
        best = self.best()
        state = STATES[outcome.state]
        unit = "report" if self._study.define_by_run or self._study.program is not None else "epoch"
        at = f" after {trial.epoch} {unit}{'s' if trial.epoch != 1 else ''}" if trial.epoch else ""
        detail = outcome.line or (
            f"{self._study.objectives[0]} {score(trial.score)}" if trial.score is not None else ""
        )
        self.notice(f"trial {trial.number} {state}{at}{': ' if detail else ''}{detail}")
        if trial.number == 0 and outcome.state is TrialState.FAIL and self._study.has_baseline:
            self.notice("that was the baseline: nothing is compared with it until `hpo run --retry-failed`")
        is_best = best is not None and best.trial == trial.number and (before is None or before.trial != best.trial)
        if best is not None and is_best:
            several = f" by {self._study.objectives[0]}" if len(self._study.objectives) > 1 else ""
            found = f"trial {best.trial} with {score(best.value)}: {params_text(best.params)}"
            self.notice(f"best so far{several}: {found}")
        self._tell_end(trial.number, is_best=is_best)

    def refused(self, number: int, reason: str) -> None:
        """A trial could not be trained, by no fault of the study's: one line."""
        self.best()  # which counts it
        self.notice(f"trial {number} {STATES[TrialState.FAIL]}: {reason}")
        self._tell_end(number, is_best=False)

    def _tell_end(self, number: int, *, is_best: bool) -> None:
        trials = self._storage_thread.trials
        ended = next((trial for trial in reversed(trials()) if trial.number == number), None)
        if ended is not None and ended.state.is_finished():  # else it was taken from this host meanwhile
            self._listeners.tell("trial_ended", ended, trials, is_best=is_best)

    def show(
        self,
        counts: Counts,
        deadline: float | None,
        slots: Sequence[Slot],
        away_seconds: float = 0.0,
        *,
        last: bool = False,
    ) -> None:
        """Send a snapshot, at most four times a second unless it is the last. An error in it is said once."""
        now = time.monotonic()
        if self._on_snapshot is None or (now - self._shown < SNAPSHOT_SECONDS and not last):
            return
        self._shown = now
        try:
            self._on_snapshot(self.snapshot(counts, deadline, slots, away_seconds))
        except Exception as error:  # noqa: BLE001 - what one sees of a run is not worth the run
            if not self._blind:
                self._blind = True
                self.notice(f"the picture of this run is incomplete: {described_bug(error)}; the run goes on")

    def snapshot(self, counts: Counts, deadline: float | None, slots: Sequence[Slot], away_seconds: float) -> Snapshot:
        now = time.monotonic()
        study, best = self._study, self.best()  # first: it brings the live counts up to date
        return Snapshot(
            study=study.name,
            objective=study.objectives[0],
            direction=study.directions[0],
            counts=self._live_counts.counts(counts, sum(slot.state == "training" for slot in slots)),
            best=best,
            seconds_left=max(0.0, deadline - now) if deadline is not None else None,
            trials_target=counts.trials_target,
            elapsed_seconds=now - self._began,
            slots=tuple(
                replace(slot.view(), epochs=epochs_of(study, slot.trial.config if slot.trial else {})) for slot in slots
            ),
            database_away_seconds=away_seconds,
            insight=self._findings.of(self._storage_thread.trials),
        )


def _same_moment(one: datetime | None, other: datetime | None) -> bool:
    """To the second, because a deadline that is set again is rounded."""
    return one is not None and other is not None and abs((one - other).total_seconds()) < 1.0
