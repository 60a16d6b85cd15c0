"""An objective of the user's own: what a script says of it before it is imported, and what no trainer could import."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo import TPE, Grid, Study
from hpo.data import Dataset
from hpo.errors import HpoError, StudyError, UsageError
from hpo.models import Model
from hpo.study.discovery import find_study
from hpo.study.objective import Objective
from hpo.study.objective_study import ObjectiveOptions
from hpo.study.script import read_script
from hpo.user_function import load_function

SCRIPT = """
import optuna
def objective(trial): return trial.suggest_float("x", 0, 1)
def loss(trial, fold=0): return 1.0
short = lambda trial: 0.0
if __name__ == "__main__":
    study = optuna.create_study(direction={direction}, sampler=optuna.samplers.TPESampler())
    study.optimize(objective, n_trials=10)
"""


def written(folder: Path, text: str, name: str = "train.py") -> str:
    (folder / name).write_text(text)
    return f"{folder / name}"


@pytest.mark.parametrize(
    ("direction", "next"),
    [
        ('"maximize"', "add --direction maximize, as create_study says in line 7"),
        ("optuna.study.StudyDirection.MINIMIZE", "add --direction minimize, as create_study says in line 7"),
        ("choose()", "add --direction minimize, which create_study in line 7 takes without being told"),
    ],
)
def test_a_direction_that_is_not_given_is_the_one_of_create_study(tmp_path: Path, direction: str, next: str) -> None:
    path = written(tmp_path, SCRIPT.format(direction=direction))
    with pytest.raises(UsageError, match="which way is train") as caught:
        find_study(f"{path}:objective", ObjectiveOptions())
    assert caught.value.next == next


def test_an_objective_is_found_without_importing_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boom = 'raise SystemError("imported")\n'
    path = written(tmp_path, boom + SCRIPT.format(direction='"maximize"'))
    options = ObjectiveOptions(("maximize",), ("f1",), "random", "none")
    found = find_study(f"{path}:objective", options)
    assert found.study.name == "train"
    assert found.study.declaration() == {
        "(function)": "train.py:objective",
        "(objective)": "maximize f1",
        "(seed)": "0",
        "(sampler)": "Random()",
        "(pruner)": "NoPruner()",
    }
    assert found.reference.endswith("--direction maximize --metric f1 --sampler random --pruner none")
    assert find_study(f"{path}:short", options).study.name == "train_short"
    monkeypatch.chdir(tmp_path)
    assert find_study("train:loss", options).study.own == Objective("train:loss", ("f1",), ("maximize",))


@pytest.mark.parametrize(
    "bottom",
    [
        "study = optuna.create_study()\nstudy.optimize(objective, n_trials=3)\n",
        "for i in range(3):\n    optuna.create_study().optimize(objective)\n",
    ],
)
def test_a_script_that_searches_when_imported_is_explained_and_not_run(tmp_path: Path, bottom: str) -> None:
    path = written(tmp_path, f"import optuna\ndef objective(trial): ...\n{bottom}")
    with pytest.raises(StudyError, match="runs a search of its own when it is imported") as caught:
        find_study(f"{path}:objective", ObjectiveOptions(("minimize",)))
    assert "line 4: " in caught.value.evidence[0]
    assert "__main__" in caught.value.next


def test_a_file_without_a_study_is_told_what_to_name_or_to_write(tmp_path: Path) -> None:
    path = written(tmp_path, SCRIPT.format(direction='"maximize"'))
    with pytest.raises(StudyError, match="it has an objective") as caught:
        find_study(path)
    assert caught.value.next == "name that: --study train.py:objective"
    path = written(tmp_path, "import optuna\noptuna.create_study().optimize(lambda trial: trial.number ** 2)\n")
    with pytest.raises(StudyError, match="optimizes a lambda") as caught:
        find_study(path)
    assert caught.value.next.endswith("def objective(trial): return trial.number ** 2")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"directions": ("up",)}, "is not minimize or maximize"),
        ({"directions": ("minimize",), "metrics": ("a", "b")}, "not of one length"),
        ({"directions": ("minimize",), "sampler": "tpee"}, '--sampler "tpee"'),
        ({"directions": ("minimize",), "pruner": "asha"}, '--pruner "asha"'),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: Any, wrong: str) -> None:
    path = written(tmp_path, SCRIPT.format(direction='"maximize"'))
    with pytest.raises(HpoError, match=wrong):
        find_study(f"{path}:objective", ObjectiveOptions(**options))


def test_options_of_an_objective_are_not_for_a_declared_study() -> None:
    with pytest.raises(UsageError, match="--sampler is for an objective of your own, and mlp_digits declares a study"):
        find_study("mlp_digits", ObjectiveOptions(sampler="random"))


def nested() -> Any:
    def objective(trial: Any) -> float:
        return 0.0

    return objective


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (lambda trial: 0.0, "a lambda"),
        (nested(), "defined inside another function"),
        ("train", "is not of the form module:name"),
        ("train:two words", "is not of the form module:name"),
        (type("Callable", (), {"__call__": nested()})(), "cannot import by name|can import by name"),
    ],
)
def test_what_no_trainer_can_import_is_refused(function: Any, wrong: str) -> None:
    with pytest.raises(StudyError, match=wrong):
        Objective(function, direction="minimize")


def test_a_prompts_objective_is_told_to_write_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def objective(trial: Any) -> float:
        return 0.0

    objective.__module__, objective.__qualname__ = "__main__", "objective"
    monkeypatch.delattr("__main__.__file__", raising=False)
    with pytest.raises(StudyError, match="notebook or at a prompt") as caught:
        Objective(objective, direction="minimize")
    assert "%%writefile" in caught.value.next


def test_a_study_around_an_objective_has_no_fields_of_a_model() -> None:
    own = Objective("train:objective", "macro_f1", "maximize")
    study = Study(name="mine", objective=own, sampler=TPE(startup_trials=5), baseline={"lr": 0.1})
    assert (study.objectives, study.directions, study.model_name) == (("macro_f1",), ("maximize",), "train:objective")
    fields: dict[str, Any] = {"dataset": "digits", "folds": 2, "direction": "maximize"}
    for field, value in fields.items():
        with pytest.raises(StudyError, match=f"so {field}="):
            Study(name="mine", objective=own, **{field: value})
    assert replace(study, name="other").name == "other"  # as `hpo run --name` does
    with pytest.raises(StudyError, match="Grid"):
        Study(name="mine", objective=own, sampler=Grid())
    with pytest.raises(StudyError, match="no direction"):
        Objective("train:objective")
    with pytest.raises(StudyError, match="needs a model that hpo trains"):
        study.check_trained_here("evaluate")


def test_text_that_is_no_python_is_left_to_the_import(tmp_path: Path) -> None:
    assert read_script(Path(written(tmp_path, "def objective(trial:\n"))) is None
    with pytest.raises(StudyError, match="line 1"):
        find_study(f"{tmp_path / 'train.py'}:objective", ObjectiveOptions(("minimize",)))


class Module: ...  # as torch's and Lightning's are called: a declaration imports neither


class LightningModule(Module): ...


class Net(LightningModule):
    def objective(self, trial: Any) -> float:
        return 0.0


class Layer(Module): ...


def build(shape: Any, classes: int) -> Any: ...


TABLE: dict[str, Any] = {"name": "s", "dataset": "digits", "space": {"batch_size": 64, "lr": 0.1}, "baseline": {}}


@pytest.mark.parametrize(
    ("given", "fact", "door"),
    [
        ({"model": Net}, "model=Net is a LightningModule", "def objective(trial) around Trainer.fit"),
        ({"model": Net()}, "model=Net is a LightningModule", "hpo run --study FILE.py:objective"),
        ({"model": Layer()}, "model=Layer is a network", "return Layer(...)"),
        ({"model": build}, "model=build is a function", 'model=Model("test_own_objective:build")'),
        ({"model": Model(build)}, "model=build is a function", 'model=Model("test_own_objective:build")'),  # type: ignore[arg-type]
        ({"model": "mlp", "objective": build}, "objective=build is a function", 'Objective("test_own_objective:build"'),
        ({"dataset": build, "model": "mlp"}, "loader build is a function", 'Dataset("test_own_objective:build"'),
        (
            {"dataset": Dataset(build, shape=(1, 2, 2), classes=("a",)), "model": "mlp"},  # type: ignore[arg-type]
            "loader build is a function",
            'Dataset("test_own_objective:build"',
        ),
    ],
)
def test_what_is_handed_in_wrongly_is_told_the_door_that_fits(given: dict[str, Any], fact: str, door: str) -> None:
    with pytest.raises(StudyError) as caught:
        Study(**{**TABLE, **given})
    assert fact in caught.value.fact
    assert door in caught.value.next


@pytest.mark.parametrize(("file", "place"), [("/home/me/train.py", "train"), (None, "my_file")])
def test_a_function_of_a_script_is_named_by_its_file(
    file: str | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", file, raising=False)  # a worker of xdist has none
    monkeypatch.setattr(build, "__module__", "__main__")
    with pytest.raises(StudyError) as caught:
        Study(**{**TABLE, "model": build})
    assert f'model=Model("{place}:build")' in caught.value.next


@pytest.mark.parametrize(
    ("text", "fact", "door"),
    [
        ("def study(): ...\n", "study is a function, not a Study", "study = study()"),
        ("def loss(trial): ...\n", "declares no study; it has an objective", "--study train.py:loss"),
        ("import hpo\ndef objective(trial): ...\nhpo.run(objective)\n", "declares no study", "train.py:objective"),
        ("x = 1\nstudy = Study(name=3\n", "does not import: SyntaxError", "mend that line"),
        (
            "import nowhere.to_be\n",
            "does not import: ModuleNotFoundError",
            f"install nowhere where hpo is installed ({sys.prefix})",
        ),
    ],
)
def test_a_file_is_told_the_door_that_fits(tmp_path: Path, text: str, fact: str, door: str) -> None:
    with pytest.raises(StudyError) as caught:
        find_study(written(tmp_path, text))
    assert fact in caught.value.fact
    assert door in caught.value.next
    if "SyntaxError" in fact:
        assert "train.py, line 2: study = Study(name=3" in "".join(caught.value.evidence)


@pytest.mark.parametrize("named", ["torn.py", "torn.py:objective", "torn:objective", "uses_torn.py"])
def test_a_line_that_is_no_python_is_named_however_its_file_is_reached(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uses_torn.py imports it; where that holds an objective, a trainer does."""
    (tmp_path / "torn.py").write_text("def objective(trial):\n    return trial.suggest_float('x', 0, 1\n\nlast = 1\n")
    (tmp_path / "uses_torn.py").write_text(
        "import torn\nfrom hpo import Study\nstudy = Study()\ndef objective(trial): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with pytest.raises(StudyError, match=r"SyntaxError: .* was never closed") as caught:
        find_study(named, ObjectiveOptions(("minimize",)) if ":" in named else None)
    line = f"{tmp_path}/torn.py, line 2: return trial.suggest_float('x', 0, 1"
    assert line in "".join(caught.value.evidence)
    with pytest.raises(StudyError, match=r"SyntaxError: .* was never closed") as caught:
        load_function(f"{tmp_path}/uses_torn.py:objective")
    assert line in "".join(caught.value.evidence)


@pytest.mark.parametrize("given", [Net().objective, functools.partial(build, classes=3), Net()])
def test_an_objective_that_belongs_to_an_object_is_refused(given: Any) -> None:
    with pytest.raises(StudyError, match="which a trainer, another process, cannot import by name"):
        Objective(given, direction="minimize")


def test_a_script_that_calls_hpo_run_unguarded_is_refused_before_it_starts_trainers(tmp_path: Path) -> None:
    """Each trainer would import it, and start a search of its own."""
    path = written(tmp_path, "import hpo\ndef objective(trial): ...\nhpo.run(objective, direction='minimize')\n")
    with pytest.raises(StudyError, match="runs a search of its own when it is imported") as caught:
        find_study(f"{path}:objective", ObjectiveOptions(("minimize",)))
    assert "line 3: hpo.run(" in caught.value.evidence[0]
    guarded = "import hpo\ndef objective(trial): ...\nif __name__ == '__main__':\n    hpo.run(objective)\n"
    find_study(f"{written(tmp_path, guarded)}:objective", ObjectiveOptions(("minimize",)))
