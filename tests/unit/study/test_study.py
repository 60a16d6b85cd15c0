"""Studies: what is refused before the first trial, what counts as a change, where they are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo import (
    GP,
    TPE,
    AtMost,
    Categorical,
    CmaEs,
    EarlyStopping,
    Float,
    FreezeThaw,
    Grid,
    Hyperband,
    Int,
    MedianPruner,
    StopWhen,
    Study,
)
from hpo.errors import DeclarationChanged, StudyError
from hpo.seeds import sampler_seed, trial_seed
from hpo.study.declaration import check_same_declaration
from hpo.study.discovery import find_study, list_studies


def make(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "tiny",
        "dataset": "digits",
        "model": "shallow",
        "space": {"batch_size": 64, "hidden_units": Int(8, 64), "lr": Float(1e-4, 1e-1, log=True)},
        "baseline": {"hidden_units": 32, "lr": 1e-2},
    }
    return Study(**(fields | changes))


SPACE = dict(make().rows.rows)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "../up"}, "not a study name"),
        ({"dataset": "mnits"}, 'did you mean "mnist"'),
        ({"model": "sallow"}, 'did you mean "shallow"'),
        ({"space": SPACE | {"learning_rate": 0.1}}, 'nothing reads "learning_rate"'),
        ({"space": {k: v for k, v in SPACE.items() if k != "hidden_units"}}, 'needs "hidden_units"'),
        ({"space": {k: v for k, v in SPACE.items() if k != "lr"}}, 'training needs "lr"'),
        ({"space": SPACE | {"hidden_units": Int(0, 8)}}, "must be at least 1"),
        ({"space": SPACE | {"hidden_units": Int(8, 64).per("batch_size")}}, "read as one value"),
        ({"space": SPACE | {"momentum": Float(0, 0.9)}}, 'nothing reads "momentum": it matters for optimizer='),
        ({"space": SPACE | {"momentum": Float(0, 1.0), "optimizer": "sgd"}}, "must be below 1"),
        ({"space": SPACE | {"optimizer": Categorical("adam", "adagrad")}}, "'adagrad' is not a choice"),
        ({"space": SPACE | {"lr": Float(1e-3, 1.0).when(batch_size=64)}}, 'always needs "lr"'),
        ({"space": SPACE | {"mixup_alpha": -0.5}}, "mixup_alpha=-0.5 must be at least 0"),
        ({"baseline": {"hidden_units": 999, "lr": 1e-2}}, "outside its row"),
        ({"objective": "accuracy"}, "val_accuracy"),
        ({"objective": "parameters"}, "decides pruning"),
        ({"direction": "up"}, "maximize or minimize"),
        ({"folds": 1}, "folds=1 must be a whole number of at least 2"),
        ({"validation": 1.5}, "between 0 and 1"),
        ({"epochs": 0}, "epochs=0"),
        ({"space": SPACE | {"epochs": Int(1, 99)}}, r"goes up to 99, and the study trains \d+ at most"),
        ({"space": SPACE | {"epochs": Int(1, 2)}, "epochs": 2, "search": FreezeThaw()}, "decides how long each trial"),
        ({"max_seconds": -1}, "max_seconds"),
        ({"sampler": Grid()}, "listed values"),
        (
            {"pruner": "median"},
            r"pruner is 'median', not a pruner(.|\n)*next: pruner=MedianPruner\(\), from hpo import",
        ),
        ({"pruner": MedianPruner}, "pruner is the class MedianPruner"),
        ({"sampler": "tpe"}, r"sampler is 'tpe', not a sampler(.|\n)*next: sampler=TPE\(\)"),
        ({"early_stopping": 3}, "early_stopping is 3, not an EarlyStopping"),
        ({"stop_when": 0.9}, "stop_when is 0.9, not a StopWhen"),
        ({"constraints": AtMost("parameters", 9)}, "constraints is AtMost(.|\n)*, not a sequence"),
        ({"constraints": ("parameters",)}, r"constraints\[0\] is 'parameters', not an AtMost"),
        ({"known": {"lr": 1e-2}}, "known is .*, not a list of configurations"),
        ({"known": ["lr"]}, r"known\[0\] is 'lr', not a configuration"),
        ({"epochs": 10**12}, "epochs=1000000000000 must be at most 1,000,000"),
        ({"seed": 2**31}, "seed=2147483648 must be at most"),
        ({"validation": "a"}, "validation='a' must lie between 0 and 1"),
        ({"max_seconds": "3h"}, "max_seconds='3h' must be a positive number"),
        ({"objective": None}, "objective is None, not a name"),
        ({"direction": 1}, "direction is 1, not a name"),
        ({"dataset": None}, "dataset is None"),
        ({"model": 3}, "model is 3"),
        ({"space": None}, "space is None, not a table of rows"),
        ({"baseline": None}, "baseline is None, not a configuration"),
        ({"description": None}, "description is None, not text"),
        ({"space": SPACE | {"lr": None}}, 'training needs "lr"'),
        ({"model": "lenet", "space": {"batch_size": 64, "lr": 0.1}, "baseline": {}}, "images of 28 to 32 pixels"),
    ],
)
def test_what_could_not_run_is_refused_before_the_first_trial(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        make(**changes)


@pytest.mark.parametrize("field", ["name", "dataset", "model", "space", "baseline"])
def test_a_field_that_is_missing_is_named_with_an_example(field: str) -> None:
    given = {"name": "tiny", "dataset": "digits", "model": "shallow", "space": SPACE, "baseline": {}}
    with pytest.raises(StudyError, match=f"the study has no {field}(.|\n)*next: add {field}="):
        Study(**{name: value for name, value in given.items() if name != field})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make_part",
    [
        lambda: EarlyStopping(patience=0),
        lambda: EarlyStopping(patience=1, min_delta=-1.0),
        lambda: EarlyStopping(patience=1, monitor="latency_ms"),
        lambda: StopWhen(epoch=0, at_least=0.5),
        lambda: EarlyStopping(patience=1, min_delta="a"),  # type: ignore[arg-type]
        lambda: StopWhen(epoch=1, at_least="a"),  # type: ignore[arg-type]
        lambda: AtMost("parameters", limit="a"),  # type: ignore[arg-type]
        lambda: AtMost("parameters", limit=1, tolerance="a"),  # type: ignore[arg-type]
        lambda: MedianPruner(percentile="a"),  # type: ignore[arg-type]
        lambda: CmaEs(startup_trials=-1),
        lambda: GP(startup_trials=-1),
        lambda: TPE(startup_trials=0),
        lambda: MedianPruner(min_trials=0),
        lambda: MedianPruner(percentile=100.0),
        lambda: Hyperband(reduction_factor=1),
    ],
)
def test_a_part_with_an_impossible_number_is_refused_naming_it(make_part: Any) -> None:
    with pytest.raises(StudyError, match=r"\("):
        make_part()


def test_the_fingerprint_changes_with_every_row_and_with_nothing_else() -> None:
    study = make()
    assert make(description="other words", known=[{"hidden_units": 8}]).fingerprint() == study.fingerprint()
    changes: list[dict[str, Any]] = [
        {"space": SPACE | {"lr": Float(1e-4, 1.0, log=True)}},
        {"epochs": 21},
        {"seed": 1},
        {"pruner": MedianPruner(warmup_epochs=3)},
        {"early_stopping": EarlyStopping(patience=2)},
        {"subset": 100},
    ]
    prints = [replace(study, **change).fingerprint() for change in changes]
    assert len({study.fingerprint(), *prints}) == len(changes) + 1


def test_a_changed_declaration_is_refused_row_by_row() -> None:
    stored = make().declaration()
    changed = make(space=SPACE | {"lr": Float(1e-4, 1.0, log=True)})
    check_same_declaration(make(), stored, finished=47)
    with pytest.raises(DeclarationChanged) as caught:
        check_same_declaration(changed, stored, finished=47)
    assert caught.value.exit_code == 3
    assert "47 finished trials" in str(caught.value)
    assert caught.value.evidence == ("lr  0.0001 .. 0.1 log   ->   0.0001 .. 1.0 log",)


def test_every_study_that_comes_along_is_found_by_its_own_name() -> None:
    found = list_studies()
    assert "mlp_digits" in {each.study.name for each in found}
    for each in found:
        assert find_study(each.study.name).study.fingerprint() == each.study.fingerprint()
        assert each.study.description


def test_a_study_is_found_by_path_with_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mynets.py").write_text("WIDTH = 32\n")
    path = tmp_path / "mine.py"
    path.write_text(
        "import mynets\nfrom hpo import Float, Study\n"
        "study = Study(name='mine', dataset='digits', model='shallow',\n"
        "    space={'batch_size': 8, 'hidden_units': mynets.WIDTH, 'lr': Float(0.01, 0.1)}, baseline={'lr': 0.05})\n"
    )
    found = find_study(str(path))
    assert found.study.name == "mine"
    assert found.sys_path == (str(tmp_path),)


def test_a_file_may_hold_several_studies(tmp_path: Path) -> None:
    """`file.py:attribute` is one of them, and `file.py` the one called study."""
    path = tmp_path / "several.py"
    one = "Study(name={!r}, dataset='digits', model='perceptron', space={{'batch_size': 8, 'lr': 0.1}}, baseline={{}})"
    path.write_text(f"from hpo import Study\nstudy = {one.format('one')}\nother = {one.format('two')}\n")
    assert find_study(str(path)).study.name == "one"
    assert find_study(f"{path}:other").study.name == "two"
    with pytest.raises(StudyError, match=r'no study called "third"') as error:
        find_study(f"{path}:third")
    assert "studies there: study, other" in str(error.value.evidence)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import nowhere_at_all\n", "nowhere_at_all"),
        ("study = 3\n", 'no study called "study"'),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("from hpo import Int\nInt(3, 1)\n", r"3 is above 1(.|\n)*broken.py, line 2: Int\(3, 1\)(.|\n)*next: swap"),
        ("from hpo import Categorical\nCategorical(1, 1)\n", r"a choice twice\n.*broken.py, line 2: (.|\n)*next: "),
        ("from hpo import Study\nstudy = Study()\n", r"has no name\n.*broken.py, line 2: study = Study\(\)"),
    ],
)
def test_a_study_file_that_does_not_work_is_one_clear_error(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(StudyError, match=complaint):
        find_study(str(path))


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [("mlp_mnits", 'did you mean "mlp_mnist"'), ("./none.py", "no study file"), ("no.such:study", "no module"),
     ("hpo.errors:study", "no study called")],
)  # fmt: skip
def test_a_reference_to_nothing_says_what_there_is(reference: str, complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        find_study(reference)


def test_no_two_trials_share_a_seed_and_samplers_have_their_own() -> None:
    seeds = {trial_seed(s, n) for s in range(4) for n in range(500)} | {sampler_seed(0, n) for n in range(500)}
    assert len(seeds) == 2500


def test_seeds_never_change_between_versions() -> None:
    assert (trial_seed(0, 0), sampler_seed(0, 0)) == (258815239, 972088333)
