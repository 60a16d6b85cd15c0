"""Ask and tell, in memory: which trial next, with which parameters, and whether to prune it.

Optuna's samplers and pruners run on the study cache; no `study.optimize`, no statement per parameter. Where they would
read every trial again for each value or report, those of hpo.sampling keep what they need, and propose and decide the
same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine

from hpo.errors import DeclarationChanged
from hpo.messages import Epoch
from hpo.sampling.choose import Sampling
from hpo.sampling.distributions import suggest, suggest_from
from hpo.sampling.exhaustion import Exhaustion
from hpo.sampling.foreseeing import ForeseeingSampler
from hpo.sampling.intake import intake_for
from hpo.sampling.planned import PlannedSampler
from hpo.sampling.pruning import make_pruner
from hpo.sampling.repeats import Repeats
from hpo.search.converging import Converging
from hpo.search.events import Counts
from hpo.search.outcomes import refused
from hpo.storage import queries
from hpo.storage.optuna_internals import constraint_key, trial_id_of
from hpo.storage.optuna_schema import FIXED_PARAMS, STATES
from hpo.storage.study_cache import StudyCache
from hpo.storage.write_batch import EpochRow
from hpo.study.own_search import told_at_its_line
from hpo.study.pausing import search_note
from hpo.study.samplers import Grid
from hpo.study.study import Study
from hpo.trainers.trial import Trial

if TYPE_CHECKING:
    from hpo.search.planning import Planner

__all__ = ["AskTell"]


class _FirstObjective(optuna.Study):
    """A study as its pruner sees it. Optuna prunes single-objective studies only; ours prune on the first objective."""

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        return super().directions[:1]


class AskTell:
    """Proposes trials of one study and ends them. Used by the storage thread, except `should_prune` (the loop's)."""

    def __init__(
        self,
        study: Study,
        study_id: int,
        cache: StudyCache,
        checkpoints: Path,
        host: str,
        workers: int,
        planner: Planner | None = None,
    ) -> None:
        self.study = study
        self.study_id = study_id
        self.cache = cache
        self._fingerprint = ""  # of the study's table, as it was first seen
        self._counted: dict[TrialState, int] | None = None
        self.claimed: set[int] = set()  # leased to this host, not proposed yet: nobody trains these
        # Under way, of the user's own function, each with its attempt: the next one reads what is recorded.
        self._proposals: dict[int, tuple[Trial, optuna.trial.Trial]] = {}
        self._checkpoints = checkpoints
        self._host = host
        self._intake = intake_for(study)
        self._refusals: dict[int, str] = {}  # by trial id: why a claimed trial cannot be trained
        self._sampling, self._exhaustion = Sampling(study, cache), Exhaustion(study, cache)
        self._repeats = Repeats(study, study_id, cache, self._sampling.storage)
        self._converging, self._planner = Converging(study, cache), planner
        self.note = search_note(study) or self._sampling.note  # what the user should know of the sampler, or ""
        self._pruner = make_pruner(study, cache, workers)
        self._pruning = _FirstObjective(study_name=study.name, storage=cache, pruner=self._pruner)

    def synchronise(self, connection: Connection, claimed: Sequence[int] = ()) -> None:
        """Read into the cache what changed since the last time, whoever changed it, and the trials just claimed."""
        self.claimed.update(claimed)
        also = [*claimed, *([] if self._plans is None else self._plans.unnoted())]
        trials, horizon = queries.read_news(connection, self.study_id, self.cache, also)
        for trial in trials:
            if trial_id_of(trial) in claimed and (reason := self._intake.refusal(trial)):
                self._refusals[trial_id_of(trial)] = reason
        self.cache.apply(self._intake.admit(trials))
        self.cache.horizon = horizon

    def claim(self, connection: Connection, worker_id: str, lease_seconds: float, limit: int) -> list[queries.Claim]:
        """Lease up to `limit` trials: waiting ones (this host's own first), then new ones within the budget. Call
        `synchronise` before sampling them, and outside this transaction: it needs no lock on the study."""
        if self._plans is not None:
            return self._plans.claim(connection, worker_id)
        room = 0 if isinstance(self.study.sampler, Grid) else self._exhaustion.room(self._room(limit))
        return queries.claim(
            connection, self.study_id, worker_id, self._host, lease_seconds, room or limit, new=room > 0
        )

    @property
    def _plans(self) -> Planner | None:
        """What decides which trials train; None where the sampler and the pruner do."""
        return None if self._planner is None or self._planner.gave_up else self._planner

    def plan(self, wanted: int) -> str:
        """Before `claim`: decide about `wanted` free slots. Returns what the user should know, or ""."""
        if self._plans is not None:
            self._plans.plan(wanted, self._room(wanted))
        notes = (part.take_note() for part in (self._repeats, self._converging, self._planner) if part is not None)
        return "; ".join(filter(None, notes))

    def _room(self, limit: int) -> int:
        """How many of `limit` new trials may begin: none once it has converged, or every combination is tried."""
        return 0 if self._converging.reached() else self._repeats.room(limit, len(self.claimed))

    def end_waiting(self, engine: Engine, worker_id: str, *, closing: bool = False) -> str:
        """End the trials that wait and will not go on: none is worth training any more, or the study's time is up.

        closing: this host trains nothing more. Returns a sentence for the user, or "".
        """
        if self._planner is None or not (closing or self._planner.over):
            return ""
        with engine.connect() as connection:
            left = queries.budget(connection, self.study_id).seconds_left
            stopped = queries.is_stopped(connection, self.study_id)  # by somebody who may resume it
        if not self._planner.over and (left is None or left > 0.0 or stopped):
            return ""
        ended = self._planner.end_waiting(engine, worker_id)
        with engine.connect() as connection:
            self.synchronise(connection)
        return f"{ended} paused trial{'s' if ended != 1 else ''} will not go on: pruned" if ended else ""

    def report(self, trial: Trial, epoch: EpochRow, message: Epoch) -> None:
        """An epoch of a trial, with its values for the pruner."""
        self.cache.report(epoch, message.report)
        if self._planner is not None:
            self._planner.trained(trial, message)

    def count(self, connection: Connection, *, exhausted: bool = False, again: bool = True) -> Counts:
        """The study as the database has it; the trials as they were counted last, if not `again`."""
        budget = queries.budget(connection, self.study_id, None if again else self._counted)
        self._check_table(budget.fingerprint)
        self._counted, left, target = budget.counts, budget.seconds_left, budget.trials_target
        counts = {STATES[state]: number for state, number in budget.counts.items()}
        exhausted = exhausted and (self._plans is None or not self._room(1))
        found = Counts(**counts, seconds_left=left, trials_target=target, exhausted=exhausted, until=budget.deadline,
                       asked=True, converged=self._converging.reached())  # fmt: skip
        if self._planner is not None:
            self._planner.look(connection, found)
        return found

    def _check_table(self, fingerprint: str) -> None:
        """Raise DeclarationChanged once the study has another table than when this host came. It may evolve only while
        nobody works on it, and a host that was away, asleep or cut off, did not."""
        self._fingerprint = self._fingerprint or fingerprint
        if fingerprint != self._fingerprint:
            raise DeclarationChanged(
                f'study "{self.study.name}" has evolved while this host was away',
                evidence=["another host gave it a wider table; trials under way here went back into the queue"],
                next="bring the study's file up to date here, then start this again",
            )

    def refuse(self, claim: queries.Claim) -> str:
        """End a claimed trial that nobody can train, and return why; "" for a trial that can be sampled."""
        reason = self._refusals.pop(claim.trial_id, "")
        if reason:
            self.cache.start(claim)
            self.claimed.discard(claim.trial_id)
            outcome = refused(claim.attempt, reason)
            self.tell(claim.trial_id, outcome.state, outcome.values, outcome.attributes, outcome.constraints)
        return reason

    def sample(self, claim: queries.Claim) -> Trial:
        """Give a claimed trial its parameters: those it has, those it was enqueued with, the sampler's for the rest."""
        self.cache.start(claim)
        self.claimed.discard(claim.trial_id)
        until = 0
        if self.study.define_by_run:  # which asks for each when it comes to it
            params = dict(self.cache.get_trial(claim.trial_id).params)
            config = params
        else:
            fresh = self._repeats.fresh(self.cache.get_trial(claim.trial_id), partial(self._sampler, claim))
            proposal = self._proposal(claim.trial_id, claim.number, fresh)
            until = self._plans.begin(claim) if self._plans is not None else 0
            with told_at_its_line(self.study.sampler):
                rows = self.study.rows.sample(lambda name, row: suggest(proposal, name, row))
            config = self.study.resolve(rows)
            params = dict(proposal.params)
        return Trial(
            trial_id=claim.trial_id,
            number=claim.number,
            attempt=claim.attempt,
            params=params,
            config=config,
            checkpoint=str(self._checkpoints / str(claim.number)),
            trainer_deaths=claim.trainer_deaths,
            until=until,
        )

    def suggest(self, trial: Trial, name: str, distribution: BaseDistribution) -> Any:
        """A value for a parameter that the user's own function asks for: the one it has, or the sampler's.

        Raises what Optuna raises, UpdateFinishedTrialError for a trial that has ended among it.
        """
        return suggest_from(self._proposal_of(trial), name, distribution)

    def foresee(self, trial: Trial, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        """What `suggest` will return for each parameter of `space`, if the trial asks for them in this order. Records
        no parameter. {} for a trial that has parameters, or was enqueued with some: those come first. ValueError for a
        space that the study cannot have any more."""
        frozen = self.cache.get_trial(trial.trial_id)
        if frozen.params or frozen.system_attrs.get(FIXED_PARAMS):
            return {}
        for name, distribution in space.items():
            self.cache.check_distribution(name, distribution)
        proposal = self._proposal_of(trial)
        sampler = proposal.study.sampler
        assert isinstance(sampler, ForeseeingSampler)
        return sampler.foresee(proposal, space)

    def _proposal_of(self, trial: Trial) -> optuna.trial.Trial:
        known, proposal = self._proposals.get(trial.trial_id, (None, None))
        if proposal is None or known is not trial:
            open_ids = self.cache.own_ids()
            self._proposals = {one: pair for one, pair in self._proposals.items() if one in open_ids}
            proposal = self._proposal(trial.trial_id, trial.number)
            self._proposals[trial.trial_id] = trial, proposal
        return proposal

    def _sampler(self, claim: queries.Claim, again: int) -> BaseSampler:
        """What proposes a trial when it is asked for the n-th time: the plan, then the study's sampler."""
        sampler = self._sampling.sampler(claim.number, again)
        planned = self._plans.params(claim.trial_id) if self._plans is not None and not again else None
        return sampler if planned is None else PlannedSampler(planned, sampler)

    def _proposal(self, trial_id: int, number: int, decided: Mapping[str, Any] | None = None) -> optuna.trial.Trial:
        sampler = self._sampling.sampler(number)
        if decided is None and self._plans is not None:
            decided = self._plans.params(trial_id)
        if decided is not None:
            sampler = PlannedSampler(decided, sampler)
        if self.study.define_by_run:
            sampler = ForeseeingSampler(sampler)
        # A new view for every trial: a Study remembers the trials it has read until its own `ask`, which is not used
        # here, and its sampler would go on seeing the study as it was at the first trial.
        storage = self._sampling.storage
        view = optuna.Study(study_name=self.study.name, storage=storage, sampler=sampler, pruner=self._pruner)
        return optuna.trial.Trial(view, trial_id)

    def should_prune(self, trial: Trial) -> bool:
        """The pruner's decision on the reports of this attempt; where a trial began again, one before got further."""
        if self._plans is not None:
            return False
        frozen = self.cache.get_trial(trial.trial_id)
        reports = {step: value for step, value in frozen.intermediate_values.items() if step in trial.steps}
        if len(reports) < len(frozen.intermediate_values):
            frozen = copy.copy(frozen)
            frozen.intermediate_values = reports
        with told_at_its_line(self.study.pruner):
            return bool(reports) and self._pruner.prune(self._pruning, frozen)

    def tell(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None,
        attributes: Mapping[str, Any],
        constraints: Mapping[str, float],
    ) -> None:
        """End a trial in memory, its attributes and constraints first: Optuna takes none afterwards."""
        if self._planner is not None and state is TrialState.COMPLETE:
            self._planner.completed(self.cache.get_trial(trial_id))
        for name, value in attributes.items():
            self.cache.set_trial_user_attr(trial_id, name, value)
        for name, value in constraints.items():
            self.cache.set_trial_system_attr(trial_id, constraint_key(name), value)
        self.cache.set_trial_state_values(trial_id, state, values)

    def requeue(self, trial: Trial, *, trainer_died: bool) -> None:
        """Release a trial in memory: WAITING, with the attempt it has lost if its trainer died."""
        if self._planner is not None:
            self._planner.paused(trial)
        self.cache.requeue(queries.Requeue(trial.trial_id, int(trainer_died), trial.checkpoint))

    def trials(self) -> list[FrozenTrial]:
        """Every trial of the study, by number, as this host knows them. Not copies: do not change them."""
        return self.cache.get_all_trials(self.study_id, deepcopy=False)
