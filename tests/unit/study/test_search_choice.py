"""Every sampler and pruner of Optuna's can be declared, with its arguments; what cannot be made is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import optuna
import pytest

from hpo import (
    GP,
    NSGAII,
    NSGAIII,
    QMC,
    TPE,
    BruteForce,
    CmaEs,
    Fixed,
    Float,
    Grid,
    Hyperband,
    Int,
    MedianPruner,
    NoPruner,
    Objective,
    Patient,
    PercentilePruner,
    Random,
    Study,
    SuccessiveHalving,
    Threshold,
    Wilcoxon,
)
from hpo.errors import StudyError, UsageError
from hpo.study.advice import check_search, wasteful
from hpo.study.objective_study import ObjectiveOptions, study_of
from hpo.study.pruners import Pruner
from hpo.study.samplers import Sampler
from hpo.study.space import Space

OWN = """
import optuna

def sampler(seed):
    return optuna.samplers.TPESampler(seed=seed, n_ei_candidates=7)

kept = optuna.samplers.RandomSampler(seed=4)

def patient():
    return optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), patience=2)

def pickled():
    return optuna.samplers.CmaEsSampler()

def raises():
    return optuna.samplers.TPESampler(no_such=1)

def empty():
    return None

three = 3
"""


def study(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "s",
        "dataset": "digits",
        "model": "mlp",
        "space": {
            "batch_size": Int(8, 64),
            "layers": Int(1, 2),
            "hidden_units": Int(8, 32).per("layers"),
            "lr": Float(1e-4, 1e-1, log=True),
        },
        "baseline": {"batch_size": 32, "layers": 1, "hidden_units": [16], "lr": 1e-2},
    }
    return Study(**(fields | changes))


LENGTHS = {
    "space": {**study().rows.rows, "epochs": Int(5, 20)},
    "baseline": {**study().baseline, "epochs": 20},
    "epochs": 20,
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"search_{tmp_path.name.rpartition('_')[2]}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def classes_of(module: Any, base: type) -> set[str]:
    return {name for name in dir(module) if isinstance(getattr(module, name), type) and name != base.__name__}


def test_every_sampler_of_optunas_can_be_declared() -> None:
    """One that a later Optuna adds fails this test."""
    declared = [TPE(), Random(), QMC(), CmaEs(), GP(), NSGAII(), NSGAIII(), BruteForce(), Fixed({"lr": 1e-3})]
    made = {type(one.build(Space({}), 1)).__name__ for one in declared}
    there = {name for name in classes_of(optuna.samplers, optuna.samplers.BaseSampler) if name.endswith("Sampler")}
    assert made == there - {"BaseSampler", "BaseGASampler", "GridSampler"}  # Grid() enqueues its points


def test_every_pruner_of_optunas_can_be_declared() -> None:
    declared = [NoPruner(), PercentilePruner(20.0), SuccessiveHalving(), Hyperband(), Threshold(lower=0.1), Patient(),
                Wilcoxon()]  # fmt: skip
    made = {type(one.build(20, 2)).__name__ for one in declared}
    there = {name for name in classes_of(optuna.pruners, optuna.pruners.BasePruner) if name.endswith("Pruner")}
    assert made == there - {"BasePruner", "MedianPruner"}  # the percentile of 50


def test_arguments_reach_optunas_class_and_stand_in_the_declaration() -> None:
    one = study(sampler=TPE(arguments={"n_ei_candidates": 7}), pruner=Hyperband(arguments={"bootstrap_count": 0}))
    assert one.sampler.build(one.rows, 1)._n_ei_candidates == 7  # type: ignore[attr-defined]
    assert one.declaration()["(sampler)"] == "TPE(startup_trials=10, arguments={'n_ei_candidates': 7})"
    assert one.fingerprint() != study().fingerprint()
    assert study(sampler=TPE()).declaration()["(sampler)"] == "TPE(startup_trials=10)"
    check_search(one)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"sampler": TPE(arguments={"n_ei": 7})}, "Optuna's TPESampler has no argument 'n_ei'.*n_ei_candidates"),
        ({"sampler": TPE(arguments={"seed": 7})}, "names seed, which hpo gives to TPESampler itself"),
        ({"sampler": NSGAII(arguments={"mutation_prob": 7})}, "Optuna's NSGAIISampler refuses NSGAII.*mutation_prob"),
        ({"pruner": Wilcoxon(arguments={"x": 1})}, "Optuna's WilcoxonPruner has no argument 'x'"),
        (
            {"sampler": CmaEs(), "objective": ("val_accuracy", "val_loss")},
            r"CmaEs\(\) goes by one objective, and this study has 2",
        ),
    ],
)
def test_arguments_that_optuna_does_not_take_are_refused_before_a_run(fields: Any, wrong: str) -> None:
    with pytest.raises(StudyError) as caught:
        check_search(study(**fields))
    assert re.search(wrong, str(caught.value), re.DOTALL)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: CmaEs(arguments={"sigma0": 1.0}), "CmaEs takes no arguments"),
        (lambda: study(sampler=TPE(arguments={"gamma": lambda n: 3})), "the argument gamma=<function.*not data"),
        (lambda: study(sampler=TPE(arguments=[1])), "is no table"),
        (lambda: study(sampler=BruteForce()), "rows are declared.*Grid"),
        (lambda: study(sampler=Fixed({"lr": 5.0})), r"lr"),
        (lambda: study(sampler=Fixed({"momentum": 0.5})), "momentum"),
        (lambda: Fixed({}), "fixes nothing"),
        (lambda: Fixed({"lr": 1.0}, Grid()), "has no sampler that proposes the other parameters"),
        (lambda: Threshold(), "has no bound"),
        (lambda: Threshold(lower=2.0, upper=1.0), "no value lies between"),
        (lambda: Threshold(upper=1.0, interval=0), "interval"),
        (lambda: Patient(patience=-1), "patience"),
        (lambda: Patient(min_delta=float("nan")), "min_delta"),
        (lambda: Patient(Patient()), "is no other pruner"),
        (lambda: Wilcoxon(p_threshold=2.0), "must lie between 0 and 1"),
        (lambda: study(sampler="tpe"), 'one of your own: sampler="my_module:function"'),
        (lambda: study(sampler=lambda seed: None), "is a lambda"),
    ],
)
def test_what_means_nothing_is_refused_where_it_is_declared(make: Any, wrong: str) -> None:
    with pytest.raises(StudyError) as caught:
        make()
    assert re.search(wrong, str(caught.value), re.DOTALL)


def test_fixed_parameters_are_those_of_the_rows_and_the_others_are_proposed() -> None:
    one = study(sampler=Fixed({"lr": 1e-3, "layers": 2}, Random()))
    made: Any = one.sampler.build(one.rows, 1)
    trial = optuna.create_study(sampler=made).ask()
    assert trial.suggest_float("lr", 1e-4, 1e-1, log=True) == 1e-3
    assert trial.suggest_int("layers", 1, 2) == 2
    assert 8 <= trial.suggest_int("batch_size", 8, 64) <= 64


def test_a_function_of_ones_own_makes_the_sampler_of_each_trial(own: str) -> None:
    one = study(sampler=f"{own}:sampler", pruner=f"{own}:patient")
    first, again, other = (one.sampler.build(one.rows, seed) for seed in (1, 1, 2))
    drawn = [each._rng.rng.random() for each in (first, again, other)]  # type: ignore[attr-defined]
    assert drawn[0] == drawn[1] != drawn[2]
    assert isinstance(one.pruner.build(20, 1), optuna.pruners.PatientPruner)
    assert one.declaration()["(sampler)"] == f'"{own}.py:sampler"', "the same on every host, whatever its folder"
    check_search(one)


def test_an_object_of_ones_own_is_used_for_all_trials(own: str) -> None:
    one = study(sampler=f"{own}:kept")
    assert one.sampler.build(one.rows, 1) is one.sampler.build(one.rows, 2)
    as_class = study(sampler=optuna.samplers.RandomSampler)
    assert isinstance(as_class.sampler.build(as_class.rows, 1), optuna.samplers.RandomSampler)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pickled", "keeps a pickle.*CmaEs"),
        ("raises", r"raises TypeError: .*\.py, line 16: return"),
        ("empty", "returns None, no sampler of Optuna's.*def empty"),
        ("three", "is 3, no sampler of Optuna's"),
        ("gone", "has no function gone"),
    ],
)
def test_what_is_no_sampler_is_refused_before_a_run_at_the_users_line(own: str, name: str, wrong: str) -> None:
    with pytest.raises(StudyError) as caught:
        check_search(study(sampler=f"{own}:{name}"))
    assert re.search(wrong, str(caught.value), re.DOTALL), str(caught.value)


def test_an_objective_names_them_on_the_command_line(own: str, tmp_path: Path) -> None:
    objective = Objective("train:objective", None, ("minimize",))
    one = study_of(objective, ObjectiveOptions(("minimize",), sampler="bruteforce", pruner="wilcoxon"))
    assert (one.sampler, one.pruner) == (BruteForce(), Wilcoxon())
    one = study_of(objective, ObjectiveOptions(("minimize",), sampler=f"{tmp_path}/{own}.py:sampler"))
    check_search(one)
    with pytest.raises(UsageError, match=r"my_file\.py:function names one of your own"):
        study_of(objective, ObjectiveOptions(("minimize",), sampler="cma"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sampler": GP()}, r"GP\(\) learns from complete trials alone, and MedianPruner\(\) leaves few"),
        ({"sampler": GP(), "pruner": SuccessiveHalving()}, "leaves one in 4"),
        ({"sampler": GP(), "pruner": NoPruner()}, None),
        ({"sampler": NSGAII(), "pruner": NoPruner()}, "is for several objectives, and this study has one"),
        ({"sampler": CmaEs(), "pruner": Patient(MedianPruner())}, "counts complete trials alone"),
        ({"sampler": CmaEs(), "pruner": Patient(None)}, None),
        ({"sampler": Fixed({"lr": 1e-3}, GP())}, r"GP\(\) learns from complete trials alone"),
        ({"pruner": Wilcoxon()}, "compares trials step by step"),
        ({"pruner": Wilcoxon(), "folds": 3}, None),
        ({**LENGTHS, "pruner": SuccessiveHalving()}, "short ones are ahead there"),
        ({**LENGTHS, "pruner": MedianPruner()}, None),
        ({}, None),
        ({"sampler": QMC()}, None),
    ],
)
def test_a_combination_that_wastes_trials_is_said(fields: Any, said: str | None) -> None:
    sentences = wasteful(study(**fields))
    assert len(sentences) == (said is not None)
    assert said is None or re.search(said, sentences[0])


def test_no_study_of_ours_wastes_trials() -> None:
    from hpo.study.discovery import list_studies

    assert {found.study.name: wasteful(found.study) for found in list_studies() if wasteful(found.study)} == {}


@pytest.mark.parametrize(("field", "declared"), [("sampler", Sampler), ("pruner", Pruner)])
def test_a_type_checker_takes_a_name_or_a_function_and_sees_what_is_kept(field: str, declared: type) -> None:
    """mypy reads what a Study takes from `__set__`, and what it has from `__get__`."""
    kind = type(vars(Study)[field])
    taken = get_type_hints(kind.__set__)["given"]
    assert {declared, str} < set(get_args(taken))
    assert get_type_hints(kind.__get__)["return"] is declared
