"""A study that a function of the user's own trains: what it declares, and what it cannot have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hpo import AtMost, EarlyStopping, Float, Grid, Study
from hpo.errors import StudyError
from hpo.study.discovery import find_study
from hpo.trainers.jobs import study_job
from hpo.trainers.preflight import configurations

FILE = """
from hpo import Categorical, Float, Int, Study
def train(run): ...
def final(run): ...
study = Study(
    name="own", train=train, final=final, objective="val_f1", direction="maximize", epochs=7,
    space={"lr": Float(1e-4, 1e-1, log=True), "layers": Int(1, 2), "units": Int(8, 64).per("layers"), "note": "plain"},
    baseline={"lr": 1e-3, "layers": 1, "units": [32]},
)
"""


def made(**changes: Any) -> Study:
    given = {
        "name": "own",
        "train": "my_training:train",
        "objective": "val_f1",
        "direction": "maximize",
        "space": {"lr": Float(1e-4, 1e-1, log=True)},
        "baseline": {"lr": 1e-3},
    }
    return Study(**{name: value for name, value in {**given, **changes}.items() if value is not ...})


def test_the_functions_in_a_studys_file_are_named_by_that_file(tmp_path: Path) -> None:
    (tmp_path / "own_study.py").write_text(FILE)
    found = find_study(str(tmp_path / "own_study.py"))
    study = found.study
    assert (study.train, study.final) == (f"{tmp_path}/own_study.py:train", f"{tmp_path}/own_study.py:final")
    assert study.has_final
    assert study.baseline_config == {"lr": 1e-3, "layers": 1, "units": [32], "note": "plain"}
    assert study.declaration() == {
        "lr": "0.0001 .. 0.1 log",
        "layers": "1 .. 2",
        "units": "8 .. 64 per layers",
        "note": "'plain' fixed",
        "(function)": "own_study.py:train",
        "(objective)": "maximize val_f1",
        "(epochs)": "7",
        "(seed)": "0",
        "(sampler)": "TPE(startup_trials=10)",
        "(pruner)": str(study.pruner),
    }
    own = study_job(found, study.baseline_config).own
    assert own is not None
    assert (own.define_by_run, own.final, own.metrics) == (False, study.final, ("val_f1",))
    assert [config["units"] for config in configurations(found)] == [[32], [8], [64], [8, 8], [64, 64]]


def test_a_function_of_an_importable_module_is_named_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_functions.py").write_text("def train(run): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__("own_functions")
    assert made(train=module.train).train == "own_functions:train"
    assert made(train="a/b.py:train").train == f"{Path.cwd()}/a/b.py:train"
    del sys.modules["own_functions"]


@pytest.mark.parametrize(
    ("changes", "fact", "next"),
    [
        ({"direction": None}, "direction=None does not say which way val_f1 is better", None),
        ({"direction": "up"}, "direction='up' does not say which way val_f1 is better", None),
        ({"objective": ("a", "b")}, "direction='maximize' does not say which way a, b is better", None),
        ({"objective": ""}, "objective='' does not name a metric, or names one twice", ""),
        ({"model": "mlp"}, "the function in train= trains by itself, so model='mlp' has no meaning", "leave it out"),
        ({"dataset": "mnist"}, "the function in train= trains by itself, so dataset='mnist' has no meaning",
         "leave it out"),
        ({"early_stopping": EarlyStopping(patience=2)}, "the function in train= trains by itself, so early_stopping="
         "EarlyStopping(patience=2, min_delta=0.0, monitor='val_accuracy') has no meaning", "leave it out"),
        ({"constraints": (AtMost("macs", 1e6),)}, None, "leave it out"),
        ({"folds": 3}, "the function in train= trains by itself, so folds=3 has no meaning", "leave it out"),
        ({"baseline": ...}, "the study has no baseline: every search is measured against one", None),
        ({"baseline": {"lr": 1.0}}, "the baseline has lr=1.0, outside its row", None),
        ({"space": ...}, "the study has no space", None),
        ({"train": lambda run: None}, "the train is a lambda: a trainer, which is another process, cannot import it",
         "move it to the top of its file: def train(run): ..."),
        ({"train": 3}, "the train is 3, which a trainer, another process, cannot import by name", None),
        ({"train": "train"}, 'train "train" is not of the form module:name or path/to/file.py:name', ""),
        ({"final": "final"}, 'final "final" is not of the form module:name or path/to/file.py:name', ""),
        ({"sampler": Grid()}, None, None),
        ({"epochs": 0}, "epochs=0 must be a whole number of at least 1", ""),
    ],
)  # fmt: skip
def test_what_it_cannot_have_is_told_by_name(changes: dict[str, Any], fact: str | None, next: str | None) -> None:
    with pytest.raises(StudyError) as caught:
        made(**changes)
    assert fact is None or caught.value.fact == fact
    assert next is None or (caught.value.next or "") == next


def test_a_declared_study_has_no_final() -> None:
    with pytest.raises(StudyError, match="final= goes with train="):
        made(train=None, final="a:b", dataset="digits", model="mlp")


def test_evaluate_says_what_is_missing() -> None:
    assert not made().has_final
    with pytest.raises(StudyError, match="needs a model that hpo trains") as caught:
        made().check_trained_here("evaluate")
    assert (
        caught.value.next == "give the study final=, a function of a run that trains for good and returns test metrics"
    )
