"""Every sampler and pruner goes through a study with every kind of trial, or is refused before it: none ends a run."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from hpo import (
    GP,
    NSGAII,
    NSGAIII,
    QMC,
    TPE,
    Categorical,
    CmaEs,
    Fixed,
    Float,
    FreezeThaw,
    Hyperband,
    Int,
    MedianPruner,
    NoPruner,
    Patient,
    Random,
    Study,
    SuccessiveHalving,
    Threshold,
    Wilcoxon,
)
from hpo.errors import StudyError
from hpo.search.ask_tell import AskTell
from hpo.storage.queries import Claim, EpochRow
from hpo.storage.study_cache import StudyCache
from hpo.study.advice import check_search, wasteful

SAMPLERS = [
    TPE(), TPE(arguments={"multivariate": False}), Random(), QMC(), CmaEs(), NSGAII(population=4),
    NSGAIII(population=4), Fixed({"lr": 1e-3, "optimizer": "sgd"}, TPE()), Fixed({"lr": 1e-3}, CmaEs()),
]  # fmt: skip
PRUNERS = [
    NoPruner(), MedianPruner(), SuccessiveHalving(), Hyperband(), Threshold(lower=0.2), Threshold(upper=0.9),
    Patient(), Patient(None, patience=1), Patient(Threshold(lower=0.4)), Wilcoxon(), Patient(Wilcoxon()),
]  # fmt: skip
OBJECTIVES = {1: "val_accuracy", 2: ("val_accuracy", "val_loss"), 3: ("val_accuracy", "val_loss", "macs")}


def study(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "s",
        "dataset": "digits",
        "model": "mlp",
        "epochs": 9,
        "space": {
            "batch_size": Int(8, 64),
            "layers": Int(1, 2),
            "hidden_units": Int(8, 32).per("layers"),
            "optimizer": Categorical("adam", "sgd"),
            "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
            "lr": Float(1e-4, 1e-1, log=True),
        },
        "baseline": {"batch_size": 32, "layers": 1, "hidden_units": [16], "lr": 1e-2, "optimizer": "adam"},
    }
    return Study(**(fields | changes))


def searched(declared: Study, trials: int) -> list[TrialState]:
    """The states of `trials` trials: some diverge, fail, or have a constraint that the others lack."""
    directions = tuple(StudyDirection[way.upper()] for way in declared.directions)
    cache, rng = StudyCache(0, "s", directions), random.Random(1)
    asker = AskTell(declared, 0, cache, Path("checkpoints"), "here", 2)
    for number in range(trials):
        trial = asker.sample(Claim(number, number, 1, None, True))
        state, values = TrialState.COMPLETE, [rng.random() for _ in directions]
        for epoch in range(1, 10):
            value = rng.choice([rng.random(), 0.5, math.nan if rng.random() < 0.2 else 0.4])
            cache.report(EpochRow(trial.trial_id, epoch), [(epoch, value)])
            trial.reported([(epoch, value)])
            if asker.should_prune(trial):
                state = TrialState.PRUNED
                break
        state = TrialState.FAIL if rng.random() < 0.1 else state
        told = values if state is TrialState.COMPLETE else None
        asker.tell(trial.trial_id, state, told, {}, {"mine": 1.0} if rng.random() < 0.2 else {})
    return [trial.state for trial in asker.trials()]


def refused(declared: Study) -> str:
    """Why it is refused before a run; "" where it is not."""
    try:
        check_search(declared)
    except StudyError as error:
        return error.fact
    return ""


@pytest.mark.parametrize("objectives", OBJECTIVES)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_proposes_whatever_the_trials_came_to(sampler: Any, objectives: int) -> None:
    declared = study(sampler=sampler, pruner=NoPruner(), objective=OBJECTIVES[objectives])
    if "CmaEs" in str(sampler) and objectives > 1:
        assert refused(declared) == f"CmaEs() goes by one objective, and this study has {objectives}"
    else:
        assert refused(declared) == ""
        assert TrialState.COMPLETE in searched(declared, 30)


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.filterwarnings("ignore:The intermediate values of the")
@pytest.mark.parametrize("objectives", OBJECTIVES)
@pytest.mark.parametrize("pruner", PRUNERS, ids=str)
def test_every_pruner_decides_whatever_the_trials_came_to(pruner: Any, objectives: int) -> None:
    declared = study(sampler=Random(), pruner=pruner, objective=OBJECTIVES[objectives])
    if objectives > 1 and ("Hyperband" in str(pruner) or "Wilcoxon" in str(pruner)):
        assert "goes by one objective" in refused(declared)
    else:
        assert refused(declared) == ""
        assert all(state.is_finished() for state in searched(declared, 30))


def test_an_error_of_ones_own_sampler_is_told_at_its_line(tmp_path: Path) -> None:
    """It may come at any trial: it is no bug of hpo."""
    file = tmp_path / "sour.py"
    file.write_text(
        "import optuna\n"
        "class Sour(optuna.samplers.RandomSampler):\n"
        "    def sample_independent(self, study, trial, name, distribution):\n"
        "        return {}[name]\n"
        "class Never(optuna.pruners.BasePruner):\n"
        "    def prune(self, study, trial):\n"
        "        raise ValueError('sour')\n"
    )
    with pytest.raises(StudyError, match=r"sampler='sour.py:Sour' raises KeyError") as caught:
        searched(study(sampler=f"{file}:Sour"), 1)
    assert "sour.py, line 4" in str(caught.value)
    with pytest.raises(StudyError, match=r"pruner='sour.py:Never' raises ValueError: sour"):
        searched(study(pruner=f"{file}:Never"), 1)


def test_freeze_thaw_takes_no_arguments_and_its_unasked_sampler_wastes_nothing() -> None:
    with pytest.raises(TypeError):
        FreezeThaw(arguments={"a": 1})  # type: ignore[call-arg]
    assert wasteful(study(sampler=GP(), search=FreezeThaw())) == []
    with pytest.raises(StudyError, match="has no argument"):
        check_search(study(sampler=Fixed({"lr": 1e-3}, arguments={"odd": 1})))
