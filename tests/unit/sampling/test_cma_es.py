"""CMA-ES proposes what Optuna's does, from the trials alone: nothing that a database holds is unpickled."""

from __future__ import annotations

import math
import pickle
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import CmaEsSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.sampling.cma_es import GENERATION, Drawn, Evolution, TrialsCmaEs
from hpo.seeds import sampler_seed
from hpo.storage.claims import Claim
from hpo.storage.study_cache import StudyCache

EPOCH = datetime(2026, 1, 1)


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    share = trial.suggest_float("share", 0.0, 0.9)
    stepped = trial.suggest_float("stepped", 0.0, 1.0, step=0.25)
    whole = trial.suggest_int("whole", 3, 98, step=5)
    wide = trial.suggest_int("wide", 1, 1000, log=True)
    return (math.log(lr) + 5) ** 2 + share + stepped**2 + (whole / 50 - 1) ** 2 + math.log(wide)


class Asked:
    """A study in memory, with a sampler of its own for every trial, as the coordinator has one."""

    def __init__(self, direction: StudyDirection = StudyDirection.MINIMIZE) -> None:
        self.cache = StudyCache(0, "cma", (direction,))
        self.evolution, self.space = Evolution(), IntersectionSearchSpace()

    def ask(self, number: int, seed: int = 0) -> optuna.trial.Trial:
        self.cache.start(Claim(number, number, 1, None, True))
        sampler = TrialsCmaEs(
            self.cache, self.evolution, self.space, startup_trials=1, seed=sampler_seed(seed, number)
        )  # fmt: skip
        return optuna.trial.Trial(optuna.Study("cma", self.cache, sampler), number)


@pytest.mark.parametrize("direction", list(StudyDirection)[1:])
@pytest.mark.parametrize("seed", [0, 1])
def test_proposals_are_those_of_optuna_bit_for_bit(direction: StudyDirection, seed: int) -> None:
    """Over eight generations, with a new sampler for each trial on both sides."""
    stock, ours = optuna.create_study(direction=direction.name.lower()), Asked(direction)
    for number in range(70):
        stock.sampler = CmaEsSampler(seed=sampler_seed(seed, number), warn_independent_sampling=False)
        theirs, mine = stock.ask(), ours.ask(number, seed)
        value = objective(theirs)
        assert (objective(mine), mine.params) == (value, theirs.params), f"trial {number}"
        stock.tell(theirs, value)
        ours.cache.set_trial_state_values(number, TrialState.COMPLETE, [value])
    assert ours.cache.get_trial(69).system_attrs[GENERATION] > 6


def test_who_joins_later_comes_to_the_same_distribution() -> None:
    """The state is a function of the trials: nothing has to be kept with them."""
    first, later = Asked(), Asked()
    for number in range(40):
        first.cache.set_trial_state_values(number, TrialState.COMPLETE, [objective(first.ask(number))])
    later.cache.apply(first.cache.get_all_trials(0))
    assert objective(first.ask(40)) == objective(later.ask(40))


class Bomb:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


def finished(number: int, generation: Any, attributes: dict[str, Any]) -> FrozenTrial:
    trial = optuna.trial.create_trial(
        value=float(number),
        params={"lr": 0.01, "share": 0.1},
        distributions={
            "lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True),
            "share": optuna.distributions.FloatDistribution(0.0, 0.9),
        },
        system_attrs={GENERATION: generation, **attributes},
    )
    trial.number, trial._trial_id = number, number
    trial.datetime_complete = EPOCH + timedelta(seconds=number)
    return trial


@pytest.mark.parametrize("generation", [0, 5, -1, 10**30, 1.5, True, "0", None, [], {"a": 1}], ids=repr)
def test_a_pickle_in_an_attribute_is_never_loaded_nor_a_generation_believed(tmp_path: Path, generation: Any) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "boom")).hex()
    attributes = {"cma:optimizer:0": bomb, "cma:optimizer:1": 3, "cma:optimizer": bomb}
    asked = Asked()
    asked.cache.apply(finished(number, generation, attributes) for number in range(30))
    trial = asked.ask(30)
    assert trial.suggest_float("lr", 1e-5, 1e-1, log=True) > 0
    assert not (tmp_path / "boom").exists()
    pickle.loads(bytes.fromhex(bomb))
    assert (tmp_path / "boom").exists(), "the pickle does nothing, so this test shows nothing"


def test_a_proposal_looks_only_at_trials_that_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and nothing of theirs is unpacked."""
    asked, looked = Asked(), []
    asked.cache.apply(finished(number, number // 8, {}) for number in range(30))
    monkeypatch.setattr("hpo.sampling.cma_es._generation", lambda trial: looked.append(trial.number) or 0)
    monkeypatch.setattr("hpo.storage.finished_trial.SharedParts.unpack", None)
    for number in (30, 31, 32):
        trial = asked.ask(number)
        trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        asked.cache.set_trial_state_values(number, TrialState.COMPLETE, [1.0])
    assert looked == list(range(32))


def told(trials: list[FrozenTrial]) -> Any:
    """What an Evolution comes to that knows nothing but these."""
    return asked_of(Evolution(), trials)


def asked_of(evolution: Evolution, trials: list[FrozenTrial]) -> Any:
    drawn = Drawn()
    drawn.take(trials)
    optimizer, _ = evolution.after(drawn, trials[0].distributions, StudyDirection.MINIMIZE)
    return optimizer.generation, optimizer._mean.tolist(), optimizer._C.tolist()


def test_a_generation_is_those_that_ended_first_whatever_is_heard_later() -> None:
    """Another host's trial ended before those that this one knew: it belongs to the generation, and the last leaves."""
    trials = [finished(number, number // 8, {}) for number in range(24)]
    for trial in trials:
        trial.params = {"lr": 10.0 ** -(1 + trial.number % 4), "share": trial.number % 9 / 10}
    evolution = Evolution()
    assert asked_of(evolution, trials) == told(trials)
    late = finished(24, 0, {})
    late.datetime_complete = EPOCH - timedelta(seconds=1)
    late.params = {"lr": 0.05, "share": 0.85}
    assert told([*trials, late]) != told(trials)
    assert asked_of(evolution, [*trials, late]) == told([*trials, late])


def test_a_trial_that_is_taken_back_or_ends_late_changes_its_generation() -> None:
    """Of the same Drawn, which keeps what it has found."""
    drawn = Drawn()
    drawn.take(finished(number, 0, {}) for number in range(5))

    def first(size: int) -> list[int]:
        return [trial.number for trial in drawn.first(0, size)]

    assert first(4) == [0, 1, 2, 3]
    late = finished(7, 0, {})
    late.datetime_complete = EPOCH - timedelta(seconds=1)
    drawn.take([late])
    assert first(4) == [0, 1, 2, 7]
    back = finished(7, 0, {})
    back.state = TrialState.WAITING
    drawn.take([back])
    assert first(4) == [0, 1, 2, 3]
    drawn.take([finished(number, 1, {}) for number in range(2)])
    assert first(4) == []
    assert drawn.generations == {0, 1}


def test_another_space_begins_anew() -> None:
    trials = [finished(number, 0, {}) for number in range(8)]
    evolution = Evolution()
    asked_of(evolution, trials)
    narrower = [finished(number, 0, {}) for number in range(8)]
    for trial in narrower:
        trial.params, trial.distributions = {"lr": 0.01}, {"lr": trial.distributions["lr"]}
    assert asked_of(evolution, narrower) == told(narrower)
