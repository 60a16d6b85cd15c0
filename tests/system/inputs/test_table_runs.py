"""A CSV file from `hpo check` to `hpo export`: the study of docs/examples/data/table.py; and tabular_mlp."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

import hpo
from hpo.errors import CodeMismatch
from hpo.evaluation.evaluate import EvaluateOptions, evaluate
from hpo.inference.exporting import export_model
from hpo.inference.model import load_model
from hpo.reproduction import reproduce
from hpo.settings import Settings
from hpo.storage.embedded.embedded import leave_embedded
from hpo.study.discovery import find_study
from hpo.trainers.estimate import inspect_study

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "data" / "table.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("table")
    shutil.copy(EXAMPLE, place / "study.py")
    iris = load_iris()
    lines = ["number,sepal,petal,width,soil,species"]
    for number, (row, label) in enumerate(zip(iris.data, iris.target, strict=True)):
        soil = "sand" if row[1] > 3 else "clay"
        lines.append(f"{number},{row[0]},{row[2] if number % 10 else ''},{row[3]},{soil},{iris.target_names[label]}")
    (place / "flowers.csv").write_text("\n".join(lines))
    yield place
    leave_embedded(place / "home")


def test_a_table_is_searched_reproduced_evaluated_and_exported(place: Path) -> None:
    study, settings = str(place / "study.py"), Settings.read()
    result = hpo.run(study, trials=2, trainers=1)
    assert result.counts["complete"] == 2
    assert result.best is not None
    assert result.best.value is not None
    assert result.best.value > 0.7
    assert reproduce(study, 0, storage=None, device=None, settings=settings).same
    done = evaluate(study, EvaluateOptions(top=1, seeds=1, out=place / "out", trainers=1), settings).document
    assert done["classes"] == ["setosa", "versicolor", "virginica"]
    saved = load_model(place / "out" / "winner", "flowers")
    assert export_model(saved, "torch-export", place / "m.pt2").checked == 36
    with (place / "flowers.csv").open("a") as file:
        file.write("\n150,5.1,1.4,0.2,sand,setosa")
    with pytest.raises(CodeMismatch, match="was trained with other data"):
        hpo.run(study, trials=3, trainers=1)


def test_the_shipped_table_can_be_trained() -> None:
    assert inspect_study(find_study("tabular_mlp"), "cpu").train_images == 364
