"""Why a trial ended as it did: the numbers that decided, or the reason that was recorded."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.cli.decisions import show_decisions
from hpo.errors import StudyError, UsageError
from hpo.insight.why import Compared, decided_last, why
from hpo.results.reading import StudyView

START = datetime(2026, 1, 1)


def trial(number: int, state: TrialState, values: list[float], minute: int, **attributes: Any) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=values[-1] if values and state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        intermediate_values=dict(enumerate(values, 1)),
        user_attrs=attributes,
    )
    made.number = number
    made.datetime_start = START
    made.datetime_complete = START + timedelta(minutes=minute) if state.is_finished() else None
    return made


def view(*trials: FrozenTrial, directions: tuple[str, ...] = ("maximize",), **fields: Any) -> StudyView:
    return StudyView("s", directions, trials, objectives=("val_accuracy",) * len(directions), **fields)


COMPLETE = [trial(number, TrialState.COMPLETE, [0.2, 0.4 + number / 10, 0.9], minute=number) for number in range(3)]


@pytest.mark.parametrize(("direction", "best", "better"), [("maximize", 0.45, 2), ("minimize", 0.3, 0)])
def test_a_pruned_trial_is_held_against_those_that_were_complete_by_then(
    direction: str, best: float, better: int
) -> None:
    later = trial(3, TrialState.COMPLETE, [0.9, 0.9, 0.9], minute=9)
    pruned = trial(4, TrialState.PRUNED, [0.45, 0.3], minute=5)
    found = why(view(*COMPLETE, later, pruned, directions=(direction,), declaration={"(pruner)": "MedianPruner()"}), 4)
    assert found.compared == Compared(2, 0.3, best, 3, 0.5, better)
    assert "after epoch 2 its val_accuracy was " in found.sentences[0]
    assert f" {best:.5f}" in found.sentences[0]
    assert "the 3 trials that were complete by then had a median of 0.50000 after that epoch" in found.sentences[0]
    assert f"and {better} of them were better than its best" in found.sentences[0]
    assert found.sentences[1] == "MedianPruner() decided"


def test_it_agrees_with_optunas_median_pruner_on_random_curves() -> None:
    """The number that is shown is the one that decided."""
    import random

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
    for _ in range(40):
        one, height = study.ask(), random.random()
        for step in range(1, 6):
            one.report(height * step / 5 + random.random() / 5, step)
            if one.should_prune():
                study.tell(one, state=TrialState.PRUNED)
                break
        else:
            study.tell(one, height)
    stored = view(*study.trials)
    pruned = [one.number for one in study.trials if one.state == TrialState.PRUNED]
    assert len(pruned) > 5
    for number in pruned:
        compared = why(stored, number).compared
        assert compared is not None
        assert compared.median is not None
        assert compared.best < compared.median


NOTHING = "the study's pruner decided; it reported no value that could be compared"
DIVERGED = {"kind": "diverged", "reason": "loss is nan"}
FAILED = {"kind": "failed", "reason": "KeyError: 'lr'"}
ENDS = {
    "it diverged: loss is nan": trial(9, TrialState.PRUNED, [0.1], 5, failure=DIVERGED),
    "KeyError: 'lr'": trial(9, TrialState.FAIL, [], 5, failure=FAILED),
    "it failed, and no reason was recorded": trial(9, TrialState.FAIL, [], 5),
    "it trained to its end after 7 epochs; epoch 3 was its best": trial(
        9, TrialState.COMPLETE, [0.1], 5, epochs=7, best_epoch=3
    ),
    NOTHING: trial(9, TrialState.PRUNED, [math.nan], 5),
    "it waits for a trainer": trial(9, TrialState.WAITING, [], 0),
}


@pytest.mark.parametrize("sentence", ENDS)
def test_each_end_has_its_reason(sentence: str) -> None:
    assert why(view(*COMPLETE, ENDS[sentence]), 9).sentences == (sentence,)


def test_the_last_decision_of_a_search_that_pauses_trials_is_told_whatever_stands_in_it() -> None:
    rows = [{"after": 3, "until": 6, "expected": 0.98, "chance": 0.39, "goal": 0.984}]
    told = why(view(trial(0, TrialState.WAITING, [0.1], 0, decisions=rows)), 0).sentences[1]
    assert (
        told == "last trained from epoch 3 to 6, expected at 0.98000 at its end, with a chance of 39 % to pass 0.98400"
    )
    rows[0].update(expected="x", why="the baseline")  # type: ignore[dict-item]
    told = why(view(trial(0, TrialState.WAITING, [0.1], 0, decisions=rows)), 0).sentences[1]
    assert told == "last trained from epoch 3 to 6: the baseline"


def test_a_trial_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(StudyError, match="no trial 7"):
        why(view(*COMPLETE), 7)


def test_of_several_objectives_nothing_is_compared() -> None:
    assert why(view(*COMPLETE, directions=("maximize", "minimize")), 0).compared is None


def test_what_was_decided_last_stands_for_every_trial_that_has_not_ended_those_in_training_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"after": 3, "until": 6, "expected": 0.9, "chance": 0.25, "goal": 0.95}
    earlier = {"after": 0, "until": 3, "why": "nothing is known yet"}
    study = view(
        trial(0, TrialState.COMPLETE, [0.5], 0, decisions=[row]),
        trial(1, TrialState.WAITING, [0.1], 0, decisions=[earlier, row]),
        trial(2, TrialState.RUNNING, [], 0, decisions=[earlier]),
        trial(3, TrialState.RUNNING, [], 0, decisions="odd"),
        trial(4, TrialState.WAITING, [], 0),
    )
    assert [(one["trial"], one["state"]) for one in decided_last(study)] == [(2, "running"), (1, "waiting")]
    show_decisions(study, watch=False, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "trial 2, running: last trained from epoch 0 to 3: nothing is known yet",
        "trial 1, waiting: last trained from epoch 3 to 6, expected at 0.90000 at its end, with a chance of 25 %"
        " to pass 0.95000",
    ]
    show_decisions(study, watch=False, as_json=True)
    assert '"decisions"' in capsys.readouterr().out
    show_decisions(view(), watch=False, as_json=False)
    assert "no decision stands" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--why shows what was decided once"):
        show_decisions(study, watch=True, as_json=False)
