"""The studies of CIFAR-10 and Fashion-MNIST: each passes `hpo check` and runs; their protocol does what it says."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import vision_images
from torchvision import models as zoo

import hpo
from hpo import AtMost, Int, PercentilePruner, Study
from hpo.errors import StudyError
from hpo.messages import Finished
from hpo.search.outcomes import classify
from hpo.study.discovery import FoundStudy, find_study
from hpo.trainers.estimate import inspect_study
from hpo.trainers.trial import Trial

STUDIES = (
    "cifar10_fast",
    "cifar10_small",
    "cnn_fashion_mnist",
    "cnn_fashion_mnist_wide",
    "mobilenet_v1_cifar10",
    "mobilenet_v2_cifar10",
    "mobilenet_v2_cifar10_finetune",
    "mobilenet_v3_cifar10",
    "mobilenet_v3_cifar10_finetune",
    "squeezenet_cifar10",
    "squeezenet_cifar10_compact",
)
SUBSET = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all studies: a data set is decoded once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that look like ImageNet's, made here."""
    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for network, weights in (
        (zoo.mobilenet_v2(), zoo.MobileNet_V2_Weights.IMAGENET1K_V2),
        (zoo.mobilenet_v3_small(), zoo.MobileNet_V3_Small_Weights.IMAGENET1K_V1),
    ):
        torch.save(network.state_dict(), folder / weights.url.rpartition("/")[2])
    return home


def short(name: str) -> FoundStudy:
    """The study for a few seconds: `--subset 300`, one epoch, small pictures where it would enlarge them.

    Its images are the real ones where HPO_DATA_DIR has them.
    """
    found = find_study(name)
    study = found.study
    changes: dict[str, Any] = {"subset": SUBSET, "epochs": 1, "max_seconds": 0.5}
    if "epochs" in study.rows.rows:  # no trial is longer than its study
        del changes["epochs"]
    if "resize" in study.rows.rows:
        changes["space"] = {**study.rows.rows, "resize": 48, "freeze_epochs": 0}
    if study.model == "resnet9":  # made for a GPU: a CPU needs minutes for the check of the whole width
        changes["space"] = {**study.rows.rows, "width": 2}
    if not os.environ.get("HPO_DATA_DIR"):
        loader = {3: "vision_images:load_colour", 1: "vision_images:load_grey"}[study.dataset_row.shape[0]]
        changes["dataset"] = replace(study.dataset_row, loader=loader)
    return replace(found, study=replace(study, **changes), sys_path=(str(Path(vision_images.__file__).parent),))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_passes_check_and_runs_two_trials(
    name: str, database_url: str, home: Path, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 300 images, the baseline and one of the sampler's."""
    monkeypatch.setenv("HPO_HOME", str(home))
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    found = short(name)
    assert inspect_study(found, "cpu").train_images >= 0.75 * SUBSET
    result = hpo.run(found, trials=2, storage=database_url, trainers=1)
    # A rate at the end of the space's range may well diverge, which is told as pruned.
    states = [trial.state.name for trial in result.frozen]
    assert states[0] == "COMPLETE"
    assert set(states) <= {"COMPLETE", "PRUNED"}
    baseline = result.frozen[0]
    assert len(baseline.values) == len(found.study.objectives)
    assert set(baseline.constraints) == {rule.metric for rule in found.study.constraints}
    assert baseline.user_attrs["metrics"]["parameters"] == inspect_parameters(found)


def inspect_parameters(found: FoundStudy) -> int:
    from hpo.models.build import build_model, count_parameters

    study = found.study
    read = {name: study.baseline_config[name] for name in study.model_row.reads if name in study.baseline_config}
    with torch.device("meta"):
        return count_parameters(build_model(study.model_row.builder, study.dataset_row.shape, 10, read))


def test_the_baselines_are_the_recipes_asked_for() -> None:
    """Of MobileNet V1 and V3, as resolved for trial 0."""
    first, third = find_study("mobilenet_v1_cifar10").study, find_study("mobilenet_v3_cifar10").study
    wanted = {"batch_size": 100, "lr": 0.03, "weight_decay": 5e-4, "optimizer": "sgd", "flip": True, "crop_padding": 4}
    assert wanted.items() <= first.baseline_config.items()
    assert first.max_seconds == 3600
    wanted = {"batch_size": 128, "lr": 0.1, "weight_decay": 5e-4, "optimizer": "sgd", "momentum": 0.9,
              "schedule": "cosine", "flip": True, "crop_padding": 4, "rotation": 15.0}  # fmt: skip
    assert wanted.items() <= third.baseline_config.items()
    assert (third.epochs, third.seed) == (60, 42)
    assert third.stop_when is not None
    assert (third.stop_when.epoch, third.stop_when.at_least) == (40, 0.85)
    assert third.protocol().compare_with == third.baseline_config


def finished(**metrics: float) -> Finished:
    return Finished(1, "complete", metrics={"val_accuracy": 0.5, **metrics})


def constraints_of(rule: AtMost, message: Finished, baseline: dict[str, float]) -> Any:
    study = replace(find_study("mlp_digits").study, constraints=(rule,))
    return classify(study, Trial(1, 1, 1, {}, {}, ""), message, baseline).constraints


def test_latency_is_limited_by_the_baselines_network_beside_it() -> None:
    """Not by what trial 0 measured at another time; within the tolerance both count as equally fast."""
    rule = AtMost("latency_ms", times_baseline=1.0, tolerance=0.05)
    slower = finished(latency_ms=5.3, baseline_latency_ms=5.0)
    assert constraints_of(rule, slower, {"latency_ms": 9.0})["latency_ms"] == pytest.approx(0.05)
    assert constraints_of(rule, finished(latency_ms=5.2, baseline_latency_ms=5.0), {})["latency_ms"] < 0
    assert constraints_of(AtMost("latency_ms", limit=4.0), finished(latency_ms=5.0), {}) == {"latency_ms": 1.0}


def test_a_metric_of_training_is_limited_by_trial_0() -> None:
    """Which has to be done by then."""
    rule = AtMost("val_loss", times_baseline=2.0)
    assert constraints_of(rule, finished(val_loss=1.0), {"val_loss": 0.25}) == {"val_loss": 0.5}
    assert constraints_of(rule, finished(val_loss=1.0), {}) == {}
    with pytest.raises(StudyError, match="tolerance"):
        AtMost("val_loss", limit=1.0, tolerance=-0.1)


def test_a_wider_network_than_the_baselines_breaks_its_limit(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End to end, where timing is no matter: parameters at most the baseline's."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    study = Study(
        name="limited",
        dataset="digits",
        model="shallow",
        space={"hidden_units": Int(8, 64), "batch_size": 64, "lr": 0.01},
        baseline={"hidden_units": 16},
        known=[{"hidden_units": 64}],
        constraints=(AtMost("parameters", times_baseline=1.0),),
        epochs=1,
    )
    result = hpo.run(study, trials=2, storage=database_url, trainers=1, enqueue_known=True)
    assert [trial.constraints for trial in result.frozen] == [{"parameters": 0.0}, {"parameters": 48 * 75}]
    assert result.best is not None
    assert result.best.trial == 0


def test_two_objectives_are_pruned_on_the_first(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna refuses to prune such studies. A hopeless rate is ended early, and the rest keep both values."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    rates = (0.1, 0.09, 0.08, 0.07)
    study = Study(
        name="front",
        dataset="digits",
        model="shallow",
        space={"hidden_units": 32, "batch_size": 64, "optimizer": "sgd", "lr": hpo.Categorical(*rates, 1e-7)},
        baseline={"lr": 0.1},
        known=[{"lr": rate} for rate in (*rates[1:], 1e-7)],
        objective=("val_accuracy", "parameters"),
        epochs=6,
        pruner=PercentilePruner(50.0, startup_trials=2, warmup_epochs=1, min_trials=1),
    )
    result = hpo.run(study, trials=5, storage=database_url, trainers=1, enqueue_known=True)
    by_rate = {trial.params["lr"]: trial for trial in result.frozen}
    assert by_rate[1e-7].state.name == "PRUNED"
    assert len(by_rate[1e-7].intermediate_values) < 6
    complete = [trial for trial in result.frozen if trial.state.name == "COMPLETE"]
    assert all(len(trial.values) == 2 for trial in complete)
    assert complete[0].values[1] == 64 * 32 + 32 + 32 * 10 + 10
