"""Suggestions for an objective are stock Optuna's, its answers come from memory, and a deaf function is ended."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from optuna.trial import TrialState

from hpo import TPE, CmaEs, MedianPruner, NoPruner, Objective, Random, Study
from hpo.errors import UsageError
from hpo.messages import Message
from hpo.own_messages import Answer, Attribute, Question, Report
from hpo.search.ask_tell import AskTell
from hpo.search.options import RunOptions
from hpo.search.own_trials import OwnTrials
from hpo.search.parts import slot_specs
from hpo.seeds import sampler_seed
from hpo.settings import Settings
from hpo.storage.claims import Claim
from hpo.storage.study_cache import StudyCache
from hpo.study.discovery import find_study
from hpo.study.objective_study import ObjectiveOptions
from hpo.study.pruners import Pruner
from hpo.study.samplers import Sampler
from hpo.trainers.slot import Slot
from hpo.trainers.trial import Trial


def objective(suggest: Any) -> float:
    """Conditional, per layer, by category; what is better depends on all of it."""
    x = suggest("x", FloatDistribution(1e-3, 1.0, log=True))
    layers = suggest("layers", IntDistribution(1, 3))
    units = [suggest(f"units_{index}", IntDistribution(4, 64, step=4)) for index in range(layers)]
    if suggest("kind", CategoricalDistribution(("a", "b", None))) == "b":
        x += suggest("shift", FloatDistribution(0.0, 0.5, step=0.1))
    return float(abs(x - 0.3) + sum(units) / 200)


def ask_tell(sampler: Sampler, pruner: Pruner | None = None) -> AskTell:
    own = Objective("train:objective", direction="minimize")
    study = Study(name="own", objective=own, sampler=sampler, pruner=pruner or NoPruner())
    cache = StudyCache(1, "own", [optuna.study.StudyDirection.MINIMIZE])
    return AskTell(study, 1, cache, Path("checkpoints"), "host", workers=1)


@pytest.mark.parametrize("sampler", [TPE(startup_trials=5), Random(), CmaEs()], ids=str)
def test_an_objective_is_suggested_what_stock_optuna_suggests(sampler: Sampler) -> None:
    ours, theirs = ask_tell(sampler), optuna.create_study(direction="minimize")
    for number in range(30):
        trial = ours.sample(Claim(trial_id=number, number=number, attempt=1, checkpoint=None, fresh=True))
        value = objective(lambda name, wanted, trial=trial: ours.suggest(trial, name, wanted))
        ours.tell(number, TrialState.COMPLETE, [value], {}, {})
        theirs.sampler = sampler.build(ours.study.rows, sampler_seed(0, number))
        stock = theirs.ask()
        theirs.tell(stock, objective(stock._suggest))
    assert [trial.params for trial in ours.trials()] == [trial.params for trial in theirs.trials]


class Heard:
    """A slot whose trainer keeps what it is sent."""

    def __init__(self, trial: Any) -> None:
        self.trial, self.sent, self.ended = trial, list[Message](), False
        self.process = SimpleNamespace(send=self.sent.append, end=self.end)
        self.stopping, self.stopping_seconds = None, 0.0

    def end(self) -> None:
        self.ended = True


def answers(own: OwnTrials, slot: Heard, *questions: Question) -> list[Answer]:
    for question in questions:
        own.ask(cast(Slot, slot), slot.trial, question)
    own.close()
    own.join()
    return cast(list[Answer], slot.sent)


def test_a_question_is_answered_by_its_number_and_a_wrong_one_with_its_error() -> None:
    parts = ask_tell(Random())
    trial = parts.sample(Claim(trial_id=7, number=0, attempt=1, checkpoint=None, fresh=True))
    slot = Heard(trial)
    kind = distribution_to_json(CategoricalDistribution(("a", "b", None)))
    asked = [
        Question(7, 0, "suggest", {"name": "kind", "distribution": kind}),
        Question(7, 1, "suggest", {"name": "kind", "distribution": kind}),
        Question(7, 2, "suggest", {"name": "kind", "distribution": distribution_to_json(IntDistribution(0, 1))}),
        Question(7, 3, "trials"),
        Question(7, 4, "nonsense"),
    ]
    first, again, other, trials, nonsense = answers(OwnTrials(parts), slot, *asked)
    assert (first.number, first.value, first.error) == (0, again.value, None)
    assert trial.params == {"kind": ("a", "b", None)[first.value]}
    assert other.error is not None
    assert other.error[0] == "ValueError"
    assert [one["number"] for one in trials.value] == [0]
    assert nonsense.error == ["ValueError", "no answer to nonsense"]


def test_a_trial_that_has_ended_is_not_answered() -> None:
    parts = ask_tell(Random())
    trial = parts.sample(Claim(trial_id=7, number=0, attempt=1, checkpoint=None, fresh=True))
    parts.tell(7, TrialState.FAIL, None, {}, {})
    kind = distribution_to_json(IntDistribution(0, 9))
    question = Question(7, 0, "suggest", {"name": "kind", "distribution": kind})
    assert answers(OwnTrials(parts), Heard(trial), question) == []


def test_a_trial_that_begins_again_is_pruned_by_what_it_reports_now() -> None:
    """What the attempt before reported stays on record, until the same step is reported again."""
    parts = ask_tell(Random(), MedianPruner(startup_trials=1, warmup_epochs=0))
    own, slot = OwnTrials(parts), cast(Slot, SimpleNamespace(health=SimpleNamespace(works=lambda: None)))

    def claimed(number: int, attempt: int = 1) -> Trial:
        return parts.sample(Claim(trial_id=number, number=number, attempt=attempt, checkpoint=None, fresh=attempt == 1))

    def report(trial: Trial, *values: float) -> None:
        for step, value in enumerate(values):
            epoch = own.reported(slot, trial, Report(trial.trial_id, step, {"value": value}, 0.1))
            parts.cache.set_trial_intermediate_value(trial.trial_id, step, epoch.report[0][1])

    for number in range(3):
        report(claimed(number), 0.9, 0.9, 0.5, 0.3)
        parts.tell(number, TrialState.COMPLETE, [0.3], {}, {})
    first = claimed(3)
    report(first, 0.9, 0.9, 0.5, 0.4)
    assert parts.should_prune(first), "at step 3 it is worse than the others"
    parts.requeue(first, trainer_died=True)
    again = claimed(3, attempt=2)
    assert not parts.should_prune(again), "it has reported nothing"
    report(again, 0.9, 0.8)
    assert not parts.should_prune(again), "at step 1 it is better than the others"
    assert parts.cache.get_trial(3).intermediate_values == {0: 0.9, 1: 0.8, 2: 0.5, 3: 0.4}
    report(again, 0.9, 0.8, 0.7)
    assert parts.should_prune(again), "at step 2 it is worse, by the best that it has reported again"
    own.close()


def test_a_function_that_does_not_hear_is_ended_after_ten_seconds() -> None:
    own, slot = OwnTrials(ask_tell(Random())), Heard(None)
    for stopping, seconds, ended in ((None, 99.0, False), ("a stop", 9.0, False), ("a stop", 11.0, True)):
        slot.stopping, slot.stopping_seconds = cast(Any, stopping), seconds
        own.end_the_deaf([cast(Slot, slot)])
        assert slot.ended is ended
    own.close()


def begun(parts: AskTell, number: int, attempt: int = 1) -> Trial:
    return parts.sample(Claim(trial_id=number, number=number, attempt=attempt, checkpoint=None, fresh=attempt == 1))


def test_a_step_that_an_earlier_attempt_reported_is_told_again_and_is_no_progress() -> None:
    """With the objective, which the study keeps, or with other metrics alone."""
    parts, works = ask_tell(Random()), list[int]()
    own, slot = OwnTrials(parts), cast(Slot, SimpleNamespace(health=SimpleNamespace(works=lambda: works.append(1))))

    def replayed(trial: Trial, step: int, **metrics: float) -> bool:
        epoch = own.reported(slot, trial, Report(trial.trial_id, step, metrics, 0.1))
        for at, value in epoch.report:
            parts.cache.set_trial_intermediate_value(trial.trial_id, at, value)
        return epoch.replayed

    first = begun(parts, 0)
    assert not replayed(first, 0, value=0.5)
    assert not replayed(first, 1, loss=0.5)
    assert not replayed(first, 1, loss=0.5, f1=0.5), "it has more to say of that step"
    assert (len(works), first.epoch) == (2, 2)
    parts.requeue(first, trainer_died=True)
    again = begun(parts, 0, attempt=2)
    assert replayed(again, 0, value=0.5)
    assert replayed(again, 1, loss=0.5)
    assert (again.got_on, len(works)) == (False, 2)
    assert not replayed(again, 2, loss=0.5)
    assert (again.got_on, len(works), again.epoch) == (True, 3, 3)
    own.close()


def test_an_objective_sets_no_attribute_or_parameter_that_is_not_its_own_to_set() -> None:
    parts = ask_tell(Random())
    own, trial = OwnTrials(parts), begun(parts, 0)
    trial.ahead = {"n": [distribution_to_json(IntDistribution(0, 9)), 3]}
    for kind, name in (("system", "fixed_params"), ("param", "other"), ("nonsense", "x")):
        own.note(trial, Attribute(0, kind, name, {"n": 1}))
    frozen = parts.cache.get_trial(0)
    assert (frozen.params, frozen.system_attrs, frozen.user_attrs) == ({}, {}, {})
    own.note(trial, Attribute(0, "system", "artifacts:1", "a file"))
    own.note(trial, Attribute(0, "param", "n"))
    frozen = parts.cache.get_trial(0)
    assert (frozen.params, frozen.system_attrs) == ({"n": 3}, {"artifacts:1": "a file"})
    own.close()


def test_values_are_drawn_once_for_a_trial_that_waits_and_no_failure_ends_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = ask_tell(Random())
    own, trial, lost, drawn = OwnTrials(parts), begun(parts, 0), begun(parts, 1), list[int]()

    def foresee(trial: Trial, _: Any) -> Any:
        drawn.append(trial.number)
        raise ValueError("as a sampler may")

    monkeypatch.setattr(parts, "foresee", foresee)
    monkeypatch.setattr(own._space, "refresh", lambda: {"x": FloatDistribution(0, 1)})
    parts.tell(1, TrialState.FAIL, None, {}, {})
    for waiting in ([trial, lost], [trial], [], [trial]):
        own.attend([], waiting)
    assert [answer.value for answer in answers(own, Heard(trial), Question(0, 7, "user_attrs"))] == [{}]
    assert drawn == [0, 0], "once each time it begins to wait; never for one that is no longer ours"


def test_a_trainer_that_has_gone_on_to_another_trial_is_sent_no_answer() -> None:
    parts = ask_tell(Random())
    own, before, slot = OwnTrials(parts), begun(parts, 0), Heard(begun(parts, 1))
    own.ask(cast(Slot, slot), before, Question(0, 0, "should_prune"))
    own.ask(cast(Slot, slot), before, Question(0, 1, "user_attrs"))
    assert [answer.number for answer in answers(own, slot, Question(1, 2, "go_on"))] == [2]


def test_trainers_per_gpu_are_not_measured_by_an_objective(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def objective(trial): ...\n")
    found = find_study(f"{tmp_path / 'train.py'}:objective", ObjectiveOptions(("minimize",)))
    with pytest.raises(UsageError, match="--trainers-per-gpu auto measures a model that hpo trains"):
        slot_specs(found, RunOptions(trainers_per_gpu="auto"), Settings(home=tmp_path))
