"""Every task beside classification: what targets have to be, what is reported, resumed and scored."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn import metrics as sklearns

from hpo import Metric, Study, Task
from hpo.data import CSV, Dataset, Tensor
from hpo.data.targets import strata, targets_for, wrong_targets
from hpo.errors import DataError, StudyError
from hpo.messages import Epoch, Inspect
from hpo.models import Model
from hpo.own_messages import final_names
from hpo.study.recipe import LOSSES
from hpo.study.tasks import TASKS
from hpo.training import built_in_metrics
from hpo.training.fit import fit, train
from hpo.training.losses import losses
from hpo.training.preflight import inspect_study
from hpo.training.progress import StopRequest
from hpo.training.tasks import count_for
from hpo.training.trial_run import TrialRun

pytestmark = pytest.mark.numeric

LOADERS = {
    "multilabel": "task_data:labels",
    "regression": "task_data:values",
    "segmentation": "task_data:masks",
    "direction": "task_data:directions",
}
OBJECTIVES = {
    "multilabel": "val_macro_f1", "regression": "val_rmse", "segmentation": "val_iou", "direction": "degrees_off"
}  # fmt: skip
OWN = Task(
    "direction",
    loss="task_data:direction_loss",
    metrics={"degrees_off": Metric("task_data:degrees_off", direction="minimize")},
    outputs=(2,),
    check="task_data:right_angles",
    predict="task_data:said_direction",
)
ROWS = {**TASKS, "direction": OWN.row}
COMPUTED: dict[str, Any] = {name: row.computed for name, row in TASKS.items()} | {"direction": OWN.metrics}
SETTINGS: dict[str, dict[str, Any]] = {
    "multilabel": {"mixup_alpha": 0.1},
    "regression": {"mixup_alpha": 0.1},
    "segmentation": {"flip": True, "crop_padding": 1, "class_weights": "balanced", "label_smoothing": 0.1},
    "direction": {"mixup_alpha": 0.1},
}


def job_of(task: str, make_job: Any, loader: str = "", classes: int = 2, **given: Any) -> Any:
    named = ["left", "right", "third"][:classes]
    dataset = {"name": task, "loader": loader or LOADERS[task], "shape": [1, 8, 8], "classes": named}
    metrics = {name: metric.as_job() for name, metric in COMPUTED[task].items()}
    if task == "direction":
        dataset |= {"classes": ["degrees"], "targets": {"shape": [1], "dtype": "float32"}}
        given.setdefault("loss", "task_data:direction_loss")
    protocol = {"subset": None, "objectives": [OBJECTIVES.get(task, "val_accuracy")]}
    network = {"model": "perceptron", "builder": "task_data:pixelwise"} if task == "segmentation" else {}
    parts = {**study(task).parts.as_job(), "metrics": metrics} if task == "direction" else {
        "metrics": metrics, "task": task
    }  # fmt: skip
    return make_job(dataset=dataset, parts=parts, protocol=protocol, **{**network, **given})


class StopAtRead(StopRequest):
    def __init__(self, reads: int) -> None:
        self.keep, self._reads = True, reads

    @property
    def asked(self) -> bool:
        self._reads -= 1
        return self._reads < 0


@pytest.mark.parametrize("task", LOADERS)
def test_a_task_is_learned_and_resumed_bit_for_bit(
    task: str, make_job: Any, data: Any, device: torch.device, tmp_path: Path
) -> None:
    straight: list[Epoch] = []
    settings = {**SETTINGS[task], "accumulate": 2, "ema_decay": 0.5}
    expected = fit(job_of(task, make_job, **settings), data, device, straight.append, StopRequest())
    assert expected.outcome == "complete"
    job = job_of(task, make_job, checkpoint=tmp_path / "trial", **settings)
    outcome, attempts = "", 0
    while outcome != "complete":
        trial = TrialRun(job, data, device, lambda epoch: None, StopAtRead(7), print)
        trial.begin()
        outcome, _ = train(trial)
        attempts += 1
    assert attempts > 1
    assert trial.finished(outcome).metrics == expected.metrics
    assert straight[-1].metrics["train_loss"] < straight[0].metrics["train_loss"]
    assert ("val_accuracy" in straight[0].metrics) == ROWS[task].accuracy
    assert set(straight[0].own) == set(COMPUTED[task])
    assert straight[0].report == [(1, straight[0].own[OBJECTIVES[task]])]
    assert expected.facts["warnings"] == []


@pytest.mark.parametrize("task", LOADERS)
def test_a_task_is_scored_on_the_test_split(
    task: str, make_job: Any, data: Any, device: torch.device, tmp_path: Path
) -> None:
    job = job_of(task, make_job, phase="final", checkpoint=tmp_path / "final")
    finished = fit(job, data, device, lambda epoch: None, StopRequest())
    tests = {final_names(name)[0] for name in COMPUTED[task]}
    assert {"test_loss", *tests} <= finished.metrics.keys()
    assert ("test_accuracy" in finished.metrics) == ROWS[task].accuracy
    assert "confusion" not in finished.facts
    assert f'"task": "{task}"' in (tmp_path / "final" / "config.json").read_text()


@pytest.mark.parametrize("task", LOADERS)
def test_a_task_passes_the_inspection_and_rehearses(task: str, make_job: Any, data: Any, device: torch.device) -> None:
    job = job_of(task, make_job)
    inspected = inspect_study(Inspect(job, [job.config], rehearse=True), data, device)
    assert inspected.problem is None
    assert inspected.rehearsals[0]["train_images"] == 320


def test_one_value_is_a_column(make_job: Any, data: Any, device: torch.device) -> None:
    """Targets [N] against outputs [N, 1] would be broadcast to [N, N] without a word."""
    job = job_of("regression", make_job, loader="task_data:one_value", classes=1)
    assert data.parts(job).images.labels.shape == (400, 1)
    assert fit(job, data, device, lambda epoch: None, StopRequest()).outcome == "complete"


@pytest.mark.parametrize("loss", LOSSES["regression"])
def test_every_loss_of_regression_trains(loss: str, make_job: Any, data: Any, device: torch.device) -> None:
    epochs: list[Epoch] = []
    fit(job_of("regression", make_job, loss=loss), data, device, epochs.append, StopRequest())
    assert epochs[-1].metrics["val_loss"] < epochs[0].metrics["val_loss"]


def test_metrics_of_tasks_are_what_scikit_learn_computes() -> None:
    random = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(60, 3, generator=random), torch.randn(60, 3, generator=random)
    assert built_in_metrics.mae(outputs, targets) == pytest.approx(sklearns.mean_absolute_error(targets, outputs))
    assert built_in_metrics.rmse(outputs[:, :1], targets[:, :1]) == pytest.approx(
        sklearns.root_mean_squared_error(targets[:, 0], outputs[:, 0])
    )
    assert built_in_metrics.r2(outputs, targets) == pytest.approx(sklearns.r2_score(targets, outputs))
    said = (targets > 0.3).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f1 = sklearns.f1_score(said, outputs > 0, average="macro", zero_division=0)
    assert built_in_metrics.label_f1(outputs, said) == pytest.approx(f1)
    area = sklearns.roc_auc_score(said, outputs, average="macro")
    assert built_in_metrics.label_auroc(outputs, said) == pytest.approx(area)
    count = count_for("multilabel")
    assert count is not None
    accuracy = sklearns.accuracy_score(said, outputs > 0)
    assert int(count(outputs, said)) / 60 == pytest.approx(accuracy)
    with pytest.raises(StudyError, match="a target is the same everywhere"):
        built_in_metrics.r2(outputs, torch.ones(60, 3))
    with pytest.raises(StudyError, match="on all items, or on none"):
        built_in_metrics.label_auroc(outputs, torch.ones(60, 3))


@pytest.mark.parametrize(
    ("task", "loader", "complaint"),
    [
        ("regression", "broken_values", "target 3 is not finite"),
        ("regression", "whole_values", r"expected floating point \[400, 2\] for regression"),
        ("multilabel", "odd_labels", "targets have 2, expected 0 and 1"),
        ("multilabel", "one_value", r"expected numbers 0 and 1 \[400, 2\] for multilabel"),
        ("segmentation", "labels", r"masks are torch.int64 \[400, 2\], expected .* \[400, 8, 8\]"),
        ("segmentation", "small_masks", r"masks are torch.uint8 \[400, 7, 8\], expected .* \[400, 8, 8\]"),
        ("segmentation", "float_masks", "masks are torch.float32"),
        ("segmentation", "odd_masks", r"mask 3 has the class 7, expected 0..1, or 255"),
        ("segmentation", "dark_masks", "has nothing of 1 of 2 classes: right"),
        ("classification", "one_class", "the train split of .* has nothing of 1 of 2 classes: right"),
        ("classification", "one_sided", "the validation part of .* has nothing of 1 of 2 classes: right"),
        ("multilabel", "bare_labels", "has the label right on no sample"),
        ("regression", "constant_values", "has 3 in every sample for right"),
        ("direction", "values", r"targets are torch.float32 \[400, 2\], expected torch.float32 \[400, 1\]"),
        ("direction", "turned_directions", "399 degrees in degrees, expected 0 to 90"),
    ],
)
def test_targets_that_the_task_does_not_take_are_told(
    task: str, loader: str, complaint: str, make_job: Any, data: Any, device: torch.device
) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        data.parts(job_of(task, make_job, loader=f"task_data:{loader}"))
    assert f"def {loader}" in str(caught.value)


def test_targets_become_what_training_takes() -> None:
    assert targets_for(torch.tensor([1.5, 2.0]), "regression", 1).shape == (2, 1)
    assert targets_for(torch.ones(2, 3, dtype=torch.bool), "multilabel", 3).dtype == torch.float32
    assert strata(torch.rand(4, 2), "regression").tolist() == [0, 0, 0, 0]
    assert wrong_targets(torch.ones(0, 2), "regression", 2, 0) == ["there are no images"]


OWN_DATA = Dataset("task_data:directions", (1, 8, 8), ("degrees",), targets=Tensor(1))


def study(task: str, **changes: Any) -> Study:
    given: dict[str, Any] = {
        "name": "tiny",
        "dataset": Dataset(LOADERS.get(task, "a:b"), (1, 8, 8), ("left", "right")),
        **({"dataset": OWN_DATA} if task == "direction" else {}),
        "model": Model("task_data:pixelwise") if task == "segmentation" else "perceptron",
        "space": {"batch_size": 16, "lr": 0.1, **changes.pop("rows", {})},
        "baseline": {},
        "task": OWN if task == "direction" else task,
        "objective": OBJECTIVES.get(task, "val_loss"),
    }
    return Study(**{**given, **changes})


def test_a_study_says_its_task_and_has_the_metrics_of_it() -> None:
    regression = study("regression")
    assert regression.directions == ("minimize",)
    assert (regression.judged_by, regression.judged_direction) == ("val_rmse", "minimize")
    assert regression.declaration()["(task)"] == "regression"
    assert "val_accuracy" not in regression.known_metrics
    assert study("regression", objective="val_r2").directions == ("maximize",)
    plain = study("classification", objective="val_accuracy")
    assert plain.declaration() == replace(plain, task=None).declaration()
    assert plain.parts.as_job() == {}


@pytest.mark.parametrize(
    ("task", "changes", "complaint"),
    [
        ("regresion", {}, 'did you mean "regression"'),
        ("regression", {"objective": "val_accuracy"}, 'names "val_accuracy", which training does not report'),
        ("regression", {"rows": {"loss": "cross_entropy"}}, "loss='cross_entropy' is not a choice"),
        ("regression", {"rows": {"class_weights": "balanced"}}, "is of classification, not regression"),
        ("multilabel", {"objective": "val_rmse"}, "val_rmse"),
        ("segmentation", {"objective": "val_accuracy"}, 'names "val_accuracy", which training does not report'),
        ("segmentation", {"rows": {"rotation": 10.0}}, '"rotation" is for the classes of whole images'),
        ("segmentation", {"rows": {"elastic": 1.0}}, '"elastic" is for the classes of whole images'),
        ("segmentation", {"rows": {"mixup_alpha": 0.1}}, '"mixup_alpha" is for the classes of whole images'),
        ("segmentation", {"rows": {"focal_gamma": 1.0}}, '"focal_gamma" is of classification, not segmentation'),
        ("segmentation", {"dataset": Dataset("a:b", inputs=Tensor(8), classes=("left", "right"))}, "needs one input"),
    ],
)
def test_what_does_not_fit_a_task_is_refused(task: str, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        study(task, **changes)


def test_a_task_of_ones_own_says_what_it_is_and_keeps_it() -> None:
    made = study("direction")
    assert (made.directions, made.judged_by) == (("minimize",), "degrees_off")
    assert "val_accuracy" not in made.known_metrics
    said = made.declaration()
    assert {name: said[f"({name})"] for name in ("task", "task check", "task predict", "task outputs", "targets")} == {
        "task": "direction", "task check": "task_data:right_angles", "task predict": "task_data:said_direction",
        "task outputs": "2", "targets": "Tensor(1)",
    }  # fmt: skip
    assert {part.shown for part in made.parts} == {
        "task_data:direction_loss", "task_data:degrees_off", "task_data:right_angles", "task_data:said_direction",
    }  # fmt: skip
    assert replace(made, name="again").declaration() == made.declaration()
    rows = CSV("rows.csv", target=("low", "high"))
    assert rows.for_task("direction").targets == Tensor(2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dataset": Dataset("a:b", (1, 8, 8), ("degrees",))}, "does not say what its targets are"),
        ({"loss": "task_data:focal"}, "both say what training minimizes"),
        ({"metrics": {"degrees_off": Metric("a:b", direction="maximize")}}, "beside those of the task, degrees_off"),
        ({"objective": "val_rmse"}, 'names "val_rmse", which training does not report'),
        ({"rows": {"class_weights": "balanced"}}, "is of classification, not direction"),
        ({"rows": {"flip": True}, "dataset": replace(OWN_DATA, targets=Tensor(8, 8))}, "would stay as they are"),
        ({"of": "regression", "dataset": replace(OWN_DATA, targets=Tensor(3))}, "takes a Tensor of as many float32"),
    ],
)
def test_what_does_not_fit_a_task_of_ones_own_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint) as caught:
        study(changes.pop("of", "direction"), **changes)
    assert caught.value.next


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda: Task("regression", loss="a:b"), "hpo has a task of that name"),
        (lambda: Task("two words", loss="a:b"), "no single word"),
        (lambda: Task("boxes", loss=None), "has no loss"),
        (lambda: Task("boxes", loss="a:b", outputs=(0,)), "is no shape"),
        (lambda: Task("boxes", loss="a:b", metrics=["iou"]), "no mapping"),  # type: ignore[arg-type]
        (lambda: Dataset("a:b", (1, 8, 8), targets="float"), "is not a Tensor"),  # type: ignore[arg-type]
    ],
)
def test_a_task_that_none_could_be_is_refused(made: Any, complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint) as caught:
        made()
    assert caught.value.next


def test_outputs_and_predictions_that_do_not_fit_the_task_are_told(
    make_job: Any, data: Any, device: torch.device
) -> None:
    job = job_of("direction", make_job)
    wide = replace(job, parts={**job.parts, "outputs": [2, 3]})
    problem = inspect_study(Inspect(wide, [wide.config], rehearse=False), data, device).problem
    assert problem is not None
    assert "expected [2, 2, 3]" in problem["fact"]
    assert "Task(outputs=...)" in problem["next"]
    silent = {**job.parts["of_task"], "predict": {"function": "task_data:no_json", "reads": []}}
    silent_job = replace(job, parts={**job.parts, "of_task": silent})
    problem = inspect_study(Inspect(silent_job, [job.config], rehearse=False), data, device).problem
    assert problem is not None
    assert "the task's predict does not work: TypeError: Object of type Tensor" in problem["fact"]
    assert any("def no_json" in line for line in problem["evidence"])


def test_targets_without_names_have_numbers() -> None:
    assert Dataset("a:b", inputs=Tensor(3), targets=Tensor(1)).classes == ("value",)
    assert Dataset("a:b", inputs=Tensor(3), targets=Tensor(2)).classes == ("value 1", "value 2")
    plain = study("regression", dataset=Dataset("a:b", inputs=Tensor(3), targets=Tensor(2)))
    assert plain.dataset_row.for_trainer("x")["targets"]["shape"] == [2]


def test_each_task_has_its_losses(make_job: Any, device: torch.device) -> None:
    from hpo.training.configuration import Recipe

    assert LOSSES.keys() == TASKS.keys()
    for task in ("multilabel", "regression"):
        job = job_of(task, make_job)
        recipe = Recipe.read(job.config, job.parts)
        assert recipe.loss == LOSSES[task][0]
        assert not recipe.plain
        assert float(losses(job, recipe, device).train(torch.zeros(4, 2), torch.ones(4, 2))) > 0.5
