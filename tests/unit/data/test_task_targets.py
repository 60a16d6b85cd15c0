"""Targets of regression and multi-label classification, of every kind of data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from hpo import Study
from hpo.data import CSV, Dataset, Folders, ImageFolder, RawImages, Samples, Tensor, cached
from hpo.data.load import load
from hpo.errors import DataError, StudyError
from hpo.messages import Job, Protocol
from hpo.study.tasks import TASKS
from hpo.testing import check_dataset
from hpo.training.fit import fit
from hpo.training.progress import StopRequest
from hpo.training.train_val_split import DataCache

ROWS = [f"{n},{n % 7}.5,{n * 0.25},{n % 2},{(n // 2) % 2},p{n // 4}" for n in range(80)]
TEXT = "\n".join(["number,size,price,red,round,who", *ROWS]) + "\n"
TARGETS: dict[str, Any] = {"regression": ("price", "size"), "multilabel": ("red", "round")}
OBJECTIVES = {"regression": "val_rmse", "multilabel": "val_macro_f1"}


def table(folder: Path, task: str, text: str = TEXT, **options: Any) -> CSV:
    (folder / "rows.csv").write_text(text)
    ignore = [name for name in ("price", "red", "round") if name not in TARGETS[task]]
    return CSV(folder / "rows.csv", TARGETS[task], **{"ignore": (*ignore, "who"), **options})


def split(row: Dataset, task: str, name: Literal["train", "test"] = "train") -> Samples:
    found = load(row.for_task(task).for_trainer("rows"), name, Folders(None, Path("nowhere")), task)
    assert isinstance(found, Samples)
    return found


def study(row: Dataset, task: str | None, **changes: Any) -> Study:
    given: dict[str, Any] = {
        "name": "rows", "dataset": row, "model": "shallow", "task": task, "epochs": 2,
        "objective": OBJECTIVES.get(str(task), "val_loss"),
        "space": {"batch_size": 8, "lr": 0.01, "hidden_units": 8}, "baseline": {},
    }  # fmt: skip
    return Study(**{**given, **changes})


def trained(study: Study, folder: Path, phase: str = "search") -> Any:
    model, row = study.model_row, study.dataset_row
    named = {"builder": model.builder, "reads": list(model.reads)}
    job = Job(
        1, 0, study.baseline_config, replace(study.protocol(), epochs=2), named, row.for_trainer("rows"), 0,
        phase=phase, parts=study.parts.as_job(),
    )  # fmt: skip
    cpu = torch.device("cpu")
    return fit(job, DataCache(Folders(None, folder), cpu), cpu, lambda epoch: None, StopRequest())


@pytest.mark.parametrize("task", TARGETS)
def test_columns_of_a_table_are_the_targets(task: str, tmp_path: Path) -> None:
    row = table(tmp_path, task)
    job = row.for_task(task).for_trainer("rows")
    assert job["classes"] == list(TARGETS[task])
    assert job["shape"] == [1 if task == "regression" else 2], "the targets are no inputs"
    train, test = split(row, task), split(row, task, "test")
    assert train.targets.dtype == torch.float32
    assert (len(train.targets) + len(test.targets), train.targets.shape[1]) == (80, 2)
    if task == "regression":
        together = {tuple(target) for part in (train, test) for target in part.targets.tolist()}
        assert together == {(n * 0.25, n % 7 + 0.5) for n in range(80)}
    finished = trained(study(row, task), tmp_path)
    assert finished.outcome == "complete", finished
    assert OBJECTIVES[task] in finished.metrics
    final = trained(study(row, task), tmp_path, "final")
    assert OBJECTIVES[task].replace("val", "test") in final.metrics


def test_a_group_of_a_table_stays_on_one_side_whatever_the_task(tmp_path: Path) -> None:
    row = table(tmp_path, "regression", ignore=("red", "round"), groups="who")
    train, test = split(row, "regression"), split(row, "regression", "test")
    assert train.groups is not None
    assert test.groups is not None
    assert not set(train.groups.tolist()) & set(test.groups.tolist())


@pytest.mark.parametrize(
    ("task", "old", "new", "said"),
    [
        ("regression", "\n3,3.5,0.75", "\n3,3.5,x", "the target 'price' is 'x' in line 5\n  regression takes numbers"),
        ("regression", "\n3,3.5,0.75", "\n3,3.5,inf", "the target 'price' is 'inf' in line 5"),
        ("regression", "\n3,3.5,0.75", "\n3,3.5,", "the target 'price' is missing in 1 of 80 rows\n  line 5"),
        ("multilabel", "\n3,3.5,0.75,1", "\n3,3.5,0.75,2", "target 'red' is '2' in line 5\n  multilabel takes 0 and 1"),
    ],
)  # fmt: skip
def test_a_target_of_a_table_that_the_task_does_not_take_is_told_with_its_line(
    task: str, old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert old in TEXT
    with pytest.raises(DataError) as caught:
        split(table(tmp_path, task, TEXT.replace(old, new)), task)
    assert said in str(caught.value)


def test_a_data_set_that_has_no_such_targets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has 2 targets, and classification takes one"):
        study(table(tmp_path, "regression"), None)
    with pytest.raises(StudyError, match="has the class of each image, and the task is regression"):
        study(ImageFolder(tmp_path, size=8), "regression", model="perceptron", space={"batch_size": 8, "lr": 0.01})
    with pytest.raises(StudyError, match="names no column, or one twice"):
        CSV(tmp_path / "rows.csv", ("price", "price"))


def test_a_table_of_classes_keeps_its_job(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(TEXT)
    row = CSV(tmp_path / "rows.csv", "red")
    job = row.for_trainer("rows")
    assert row.for_task("classification").for_trainer("rows") == job
    assert job["options"]["target"] == "red"
    assert "task" not in job["options"]


@pytest.mark.parametrize("task", TARGETS)
def test_targets_of_tensors_are_learned(task: str, tmp_path: Path) -> None:
    row = Dataset(f"task_data:tensors_{task}", inputs=Tensor(3, normalise=True), classes=("left", "right"))
    check_dataset(row, Folders(None, tmp_path), task=task)
    space = {"batch_size": 8, "lr": 0.01, "hidden_units": 8, "mixup_alpha": 0.2}
    finished = trained(study(row, task, space=space), tmp_path)
    assert finished.outcome == "complete", finished
    assert set(TASKS[task].computed) & finished.metrics.keys() == {OBJECTIVES[task]}
    with pytest.raises(DataError, match=r"expected torch.int64 \[60\]"):
        load(row.for_trainer("rows"), "train", Folders(None, tmp_path))


def test_values_are_kept_in_the_cache_as_they_are(tmp_path: Path) -> None:
    """As whole numbers they would be made anew each time, because they do not match their checksum."""
    images, values = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0.5, 1.5, 2.5, 3.5])
    folders, made = Folders(None, tmp_path), []

    def decode() -> tuple[torch.Tensor, torch.Tensor]:
        made.append(1)
        return images, values

    found: list[RawImages] = [cached("values", "train", "1", folders, decode) for _ in range(2)]
    assert [one.labels.tolist() for one in found] == [values.tolist()] * 2
    assert len(made) == 1


def test_what_was_loaded_for_one_task_is_not_taken_for_another(tmp_path: Path) -> None:
    """A trainer keeps what it loaded and checked."""
    row = Dataset("task_data:tensors_classification", inputs=Tensor(3), classes=("no", "yes"))
    cache = DataCache(Folders(None, tmp_path), torch.device("cpu"))

    def labels(parts: dict[str, Any]) -> torch.Tensor:
        job = Job(1, 0, {}, Protocol(1, ("val_loss",)), {}, row.for_trainer("rows"), 0, parts=parts)
        return cache.parts(job).images.labels

    assert labels({}).dtype == torch.int64
    with pytest.raises(DataError, match="expected floating point"):
        labels({"task": "regression"})
