"""Values of an objective that always asks for the same go with its job, and are those that it would have been given."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hpo import NSGAII, TPE, CmaEs, Hyperband, NoPruner, Objective, Random, Study
from hpo.messages import Job, Message, Protocol, decode, encode
from hpo.own_messages import Answer, Attribute, OwnTraining, Question
from hpo.own_training.link import Link
from hpo.own_training.remote_trial import RemoteTrial
from hpo.search.ask_tell import AskTell
from hpo.search.own_trials import OwnTrials
from hpo.search.static_space import STATIC_TRIALS
from hpo.seeds import sampler_seed
from hpo.storage.claims import Claim
from hpo.storage.study_cache import StudyCache
from hpo.study.samplers import Sampler
from hpo.trainers.slot import Slot
from hpo.trainers.trial import Trial
from hpo.training.progress import StopRequest

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-3, 1.0, log=True),
    "units": IntDistribution(4, 64, step=4),
    "kind": CategoricalDistribution(("a", "b", None)),
    "always": FloatDistribution(0.5, 0.5),
    "shift": FloatDistribution(0.0, 0.5, step=0.1),
}


def ask_tell(sampler: Sampler, pruner: Any = None) -> AskTell:
    own = Objective("train:objective", direction="minimize")
    study = Study(name="own", objective=own, sampler=sampler, pruner=pruner or NoPruner())
    return AskTell(study, 1, StudyCache(1, "own", [optuna.study.StudyDirection.MINIMIZE]), Path("c"), "host", workers=1)


def claimed(parts: AskTell, number: int, *, attempt: int = 1) -> Trial:
    return parts.sample(Claim(trial_id=number, number=number, attempt=attempt, checkpoint=None, fresh=attempt == 1))


def score(params: dict[str, Any]) -> float:
    return float(abs(params["lr"] - 0.3) + params["units"] / 64 + params["shift"] + (params["kind"] == "b"))


@pytest.mark.parametrize("pruner", [NoPruner(), Hyperband(min_epochs=1)], ids=["", "hyperband"])
@pytest.mark.parametrize("sampler", [TPE(startup_trials=5), Random(), CmaEs(), NSGAII()], ids=str)
def test_what_is_drawn_ahead_is_what_stock_optuna_suggests(sampler: Sampler, pruner: Any) -> None:
    """Value for value, whether the trial then asks for it or takes what came with its job."""
    ours = ask_tell(sampler, pruner)
    theirs = optuna.create_study(direction="minimize", study_name="own", pruner=pruner.build(1, 1))
    for number in range(16):
        trial = claimed(ours, number)
        ahead = ours.foresee(trial, SPACE)
        assert not ours.cache.get_trial(number).params, "nothing is recorded before it is asked for"
        asked = {name: ours.suggest(trial, name, kind) for name, kind in SPACE.items()}
        assert ahead == asked
        ours.tell(number, TrialState.COMPLETE, [score(asked)], {}, {})
        theirs.sampler = sampler.build(ours.study.rows, sampler_seed(0, number))
        stock = theirs.ask()
        theirs.tell(stock, score({name: stock._suggest(name, kind) for name, kind in SPACE.items()}))
    assert [trial.params for trial in ours.trials()] == [trial.params for trial in theirs.trials]


class Coordinator:
    """The coordinator's side of an objective, and a trainer's, without processes."""

    def __init__(self) -> None:
        self.parts = ask_tell(Random())
        self.own = OwnTrials(self.parts)
        self.sent: list[Message] = []

    def train(
        self,
        number: int,
        objective: Callable[[RemoteTrial], object],
        trial: Trial | None = None,
        state: TrialState = TrialState.COMPLETE,
    ) -> Trial:
        """Run `objective` as a trial of that number, and end it. `sent` is then what the trainer said."""
        trial = trial or claimed(self.parts, number)
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        slot = cast(Slot, SimpleNamespace(trial=trial, process=SimpleNamespace(send=answers.put)))

        def send(message: Message) -> None:
            self.sent.append(message)
            if isinstance(message, Question):
                self.own.ask(slot, trial, message)
            elif isinstance(message, Attribute):
                self.own.note(trial, message)

        link = Link(trial.trial_id, send, StopRequest(), answers)
        self.own.attend([], [trial])
        link.ask("user_attrs")  # is answered after that
        self.sent.clear()
        own = OwnTraining("train:objective", "own", ("minimize",), ("value",), ahead=trial.ahead)
        job = decode(encode(Job(trial.trial_id, number, {}, Protocol(0, ("value",)), {}, {}, seed=1, own=own)))
        assert isinstance(job, Job)
        objective(RemoteTrial(job, link))
        self.parts.tell(trial.trial_id, state, [0.1 * number] if state is TrialState.COMPLETE else None, {}, {})
        return trial

    @property
    def asked(self) -> list[str]:
        return [one.arguments["name"] for one in self.sent if isinstance(one, Question)]

    @property
    def taken(self) -> list[str]:
        return [one.name for one in self.sent if isinstance(one, Attribute)]


@pytest.fixture
def coordinator() -> Any:
    one = Coordinator()
    yield one
    one.own.close()
    one.own.join()


def plain(trial: RemoteTrial, high: float = 1.0) -> None:
    trial.suggest_float("x", 0, high, step=0.3)  # Optuna makes the end 0.9, and writes that
    trial.suggest_categorical("kind", ["a", "b", None])
    trial.suggest_int("n", 1, 3)


@pytest.mark.filterwarnings("ignore:The distribution is specified")
def test_after_ten_trials_alike_an_objective_waits_for_no_suggestion(coordinator: Coordinator) -> None:
    for number in range(STATIC_TRIALS):
        coordinator.train(number, plain)
        assert (coordinator.asked, coordinator.taken) == (["x", "kind", "n"], [])
    seen: dict[str, Any] = {}
    trial = coordinator.train(STATIC_TRIALS, lambda one: (plain(one), seen.update(one.params)))
    assert (coordinator.asked, coordinator.taken) == ([], ["x", "kind", "n"])
    recorded = coordinator.parts.cache.get_trial(trial.trial_id)
    assert recorded.params == seen == trial.params
    assert list(recorded.distributions.items()) == list(coordinator.parts.cache.get_trial(0).distributions.items())
    stock = optuna.create_study(sampler=Random().build({}, sampler_seed(0, STATIC_TRIALS))).ask()
    assert stock.suggest_float("x", 0, 1, step=0.3) == seen["x"]
    assert stock.suggest_categorical("kind", ["a", "b", None]) == seen["kind"]
    assert stock.suggest_int("n", 1, 3) == seen["n"]


@pytest.mark.filterwarnings("ignore:The distribution is specified")
@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.FAIL])
def test_a_trial_that_wants_something_else_gets_it_and_the_space_is_learned_anew(
    coordinator: Coordinator, state: TrialState
) -> None:
    def wider(trial: RemoteTrial) -> None:
        plain(trial, 2.0)
        assert trial.suggest_float("y", 5, 6) >= 5

    for number in range(STATIC_TRIALS):
        coordinator.train(number, plain)
    trial = coordinator.train(10, wider, state=state)
    assert (coordinator.asked, coordinator.taken) == (["x", "y"], ["kind", "n"])
    recorded = coordinator.parts.cache.get_trial(trial.trial_id).distributions
    assert recorded["x"] == FloatDistribution(0, 1.8, step=0.3)
    assert list(recorded) == ["x", "kind", "n", "y"]
    for number in range(11, 11 + STATIC_TRIALS):
        coordinator.train(number, plain)
        assert coordinator.taken == []
    coordinator.train(11 + STATIC_TRIALS, plain)
    assert coordinator.asked == []


@pytest.mark.filterwarnings("ignore:The distribution is specified")
def test_a_trial_that_begins_again_or_was_given_values_keeps_them(coordinator: Coordinator) -> None:
    for number in range(STATIC_TRIALS):
        coordinator.train(number, plain)

    class Died(Exception):
        pass

    def dies(trial: RemoteTrial) -> None:
        trial.suggest_float("x", 0, 1, step=0.3)
        raise Died

    cache, first = coordinator.parts.cache, claimed(coordinator.parts, 10)
    with pytest.raises(Died):
        coordinator.train(10, dies, first)
    assert coordinator.taken == ["x"]
    assert list(cache.get_trial(10).params) == ["x"], "what it has not asked for is not its parameter"
    other = first.ahead["n"][1] % 3 + 1
    cache.set_trial_param(10, "n", other, IntDistribution(1, 3))  # as an attempt on another host may have had it
    coordinator.parts.requeue(first, trainer_died=True)
    again = coordinator.train(10, plain, claimed(coordinator.parts, 10, attempt=2))
    assert (again.ahead, again.params["n"]) == ({}, other)
    assert cache.get_trial(10).params["x"] == first.params["x"] == again.params["x"]

    enqueued = claimed(coordinator.parts, 11)
    cache.set_trial_system_attr(11, "fixed_params", {"n": 3, "kind": "b"})
    coordinator.train(11, plain, enqueued)
    assert coordinator.asked == ["x", "kind", "n"]
    assert (enqueued.params["n"], enqueued.params["kind"]) == (3, "b")
