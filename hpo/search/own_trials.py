"""Trials that a function of the user's own trains: what it asks is answered from memory, what it says is recorded.

Suggestions are made in a thread of their own: the loop goes on while a sampler thinks, and a database that does not
answer holds up no objective. What was suggested is written with the next batch, always before or with what the trial
reports after it. While an objective asks for the same parameters in every trial, its values are drawn before a trial
begins, and go with its job; they become the trial's parameters one by one, when the objective asks for them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from hpo.messages import Epoch
from hpo.own_messages import Answer, Attribute, Question, Report
from hpo.search.ask_tell import AskTell
from hpo.search.static_space import StaticSpace
from hpo.storage.optuna_internals import constraint_key, trial_id_of
from hpo.trainers.slot import Slot
from hpo.trainers.trial import Trial

__all__ = ["OwnTrials"]

DEAF_SECONDS = 10.0
"""How long a function may go on after its trial was taken from it; it hears of that when it next reports or asks."""
ARTIFACT = "artifacts:"
"""What the one system attribute begins with that an objective may set: Optuna's record of an uploaded file."""


class OwnTrials:
    """Answers and records for the loop, whose thread calls everything but `_work`."""

    def __init__(self, ask_tell: AskTell) -> None:
        self._ask_tell = ask_tell
        self._steps: dict[int, set[int]] = {}
        self._waiting: set[int] = set()  # ids of trials that were waiting for a slot
        self._space = StaticSpace(ask_tell.cache)  # the other thread's
        self._params = threading.Lock()
        self._questions: queue.SimpleQueue[tuple[Slot, Trial, Question] | Trial | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="suggestions", daemon=True)
        self._thread.start()

    def ask(self, slot: Slot, trial: Trial, question: Question) -> None:
        """Have `question` answered. Whether to prune is decided at once, by what was reported before it was asked."""
        if question.about == "should_prune":
            _send(slot, Answer(trial.trial_id, question.number, self._ask_tell.should_prune(trial)))
        elif question.about == "go_on":
            _send(slot, Answer(trial.trial_id, question.number, True))
        else:
            self._questions.put((slot, trial, question))

    def reported(self, slot: Slot, trial: Trial, message: Report) -> Epoch:
        """The report as an epoch of the trial. Where an earlier attempt had come as far, it is told again."""
        before = self._ask_tell.cache.get_trial(trial.trial_id).intermediate_values
        steps = self._steps_of(trial.trial_id)
        again = message.step in trial.steps  # in this attempt: it has more to say of that step
        replayed = not again and (message.step in before or message.step in steps)
        steps.add(message.step)
        trial.steps.add(message.step)
        trial.epoch = len(trial.steps)
        if not replayed and not again:
            trial.got_on = True
            slot.health.works()
        objective = self._ask_tell.study.objectives[0]
        report = [(message.step, message.metrics[objective])] if objective in message.metrics else []
        if report:
            trial.reported(report)
        return Epoch(
            trial.trial_id, message.step, {}, message.seconds, report, replayed=replayed, at=time.time(),
            own=message.metrics,
        )  # fmt: skip

    def _steps_of(self, trial_id: int) -> set[int]:
        """The steps that a trial has reported here, in any attempt: without the objective, the study does not tell."""
        if trial_id not in self._steps:
            cache = self._ask_tell.cache
            self._steps = {
                one: steps for one, steps in self._steps.items() if not cache.get_trial(one).state.is_finished()
            }
            self._steps[trial_id] = set()
        return self._steps[trial_id]

    def attend(self, slots: Iterable[Slot], waiting: Sequence[Trial]) -> None:
        """Once in a turn: have values drawn for trials that have begun to wait for a slot, and end the deaf."""
        if self._ask_tell.study.define_by_run:
            for trial in waiting:
                if trial.trial_id not in self._waiting:
                    self._questions.put(trial)
            self._waiting = {trial.trial_id for trial in waiting}
        self.end_the_deaf(slots)

    def end_the_deaf(self, slots: Iterable[Slot]) -> None:
        """Kill trainers whose trial was taken from them long ago, and whose function has not noticed."""
        for slot in slots:
            if slot.stopping is not None and slot.stopping_seconds > DEAF_SECONDS and slot.process is not None:
                slot.process.end()

    def note(self, trial: Trial, message: Attribute) -> None:
        """Record an attribute of the trial, or of the study."""
        cache, trial_id = self._ask_tell.cache, message.trial_id
        if message.kind == "study":
            cache.set_study_user_attr(self._ask_tell.study_id, message.name, message.value)
        elif message.kind == "user":
            trial.noted.add(message.name)
            cache.set_trial_user_attr(trial_id, message.name, message.value)
        elif message.kind == "constraint":
            cache.set_trial_system_attr(trial_id, constraint_key(message.name), message.value)
        elif message.kind == "system" and message.name.startswith(ARTIFACT):
            cache.set_trial_system_attr(trial_id, message.name, message.value)
        elif message.kind == "param" and message.name in trial.ahead:
            words, value = trial.ahead[message.name]
            cache.set_trial_param(trial_id, message.name, float(value), json_to_distribution(words))
            self._note_params(trial)

    def _note_params(self, trial: Trial) -> None:
        with self._params:  # an objective's threads may ask in both of ours at once
            trial.params = dict(self._ask_tell.cache.get_trial(trial.trial_id).params)
            trial.config = trial.params

    def close(self) -> None:
        """Answer what was asked until now, and no more."""
        self._questions.put(None)

    def join(self) -> None:
        """Wait until that is done."""
        self._thread.join()

    # The thread of its own ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (work := self._questions.get()) is not None:
            if isinstance(work, Trial):
                self._foresee(work)
                continue
            slot, trial, question = work
            if not self._ask_tell.cache.owns(trial.trial_id):
                continue  # a Stop is under way
            # Ended or taken meanwhile: a Stop is under way too.
            with suppress(UpdateFinishedTrialError):
                _send(slot, self._answer(trial, question))

    def _foresee(self, trial: Trial) -> None:
        """Draw the values that the trial is expected to ask for."""
        space = self._space.refresh()
        if not space or not self._ask_tell.cache.owns(trial.trial_id):
            return
        # A sampler that fails does so again when the objective asks, and that trial hears of it.
        with suppress(Exception):
            values = self._ask_tell.foresee(trial, space)
            trial.ahead = {
                name: [self._space.words(name, space[name]), _as_told(space[name], value)]
                for name, value in values.items()
            }

    def _answer(self, trial: Trial, question: Question) -> Answer:
        try:
            value = self._found(trial, question)
        except UpdateFinishedTrialError:
            raise
        except Exception as error:  # noqa: BLE001 - a wrong range, or a sampler that fails: the trial's, not the run's
            return Answer(trial.trial_id, question.number, error=[type(error).__name__, str(error)])
        return Answer(trial.trial_id, question.number, value)

    def _found(self, trial: Trial, question: Question) -> Any:
        if question.about == "suggest":
            return self._suggest(trial, **question.arguments)
        if question.about == "trials":
            return [told(one) for one in self._ask_tell.trials()]
        if question.about == "user_attrs":
            return self._ask_tell.cache.get_study_user_attrs(self._ask_tell.study_id)
        raise ValueError(f"no answer to {question.about}")

    def _suggest(self, trial: Trial, name: str, distribution: str) -> Any:
        wanted = json_to_distribution(distribution)
        self._space.asked(name, wanted, distribution)
        if trial.ahead and (name not in trial.ahead or json_to_distribution(trial.ahead[name][0]) != wanted):
            self._space.changed()
        value = self._ask_tell.suggest(trial, name, wanted)
        self._note_params(trial)
        return _as_told(wanted, value)


def told(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as hpo.own_training.optuna_objects reads it."""
    return {
        "number": trial.number,
        "trial_id": trial_id_of(trial),
        "state": trial.state.name,
        "values": trial.values,
        "started": trial.datetime_start.isoformat() if trial.datetime_start else None,
        "completed": trial.datetime_complete.isoformat() if trial.datetime_complete else None,
        "params": _params(trial.params, trial.distributions),
        "user_attrs": trial.user_attrs,
        "reports": list(trial.intermediate_values.items()),
    }


def _params(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> dict[str, list[Any]]:
    return {
        name: [one.to_internal_repr(params[name]), distribution_to_json(one)] for name, one in distributions.items()
    }


def _as_told(distribution: BaseDistribution, value: Any) -> Any:
    """A number: the value, or the index of a categorical one."""
    internal = distribution.to_internal_repr(value)
    return internal if isinstance(distribution, FloatDistribution) else int(internal)


def _send(slot: Slot, answer: Answer) -> None:
    process = slot.process
    if process is not None and slot.trial is not None and slot.trial.trial_id == answer.trial_id:
        process.send(answer)
