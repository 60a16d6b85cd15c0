"""A trial that is interrupted and resumed is the trial that was not."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from training_jobs import OWN_PARTS

from hpo.data import Dataset, Tensor, Torch
from hpo.messages import Epoch
from hpo.study.tasks import TASKS
from hpo.training.checkpoint import TrainingSnapshot
from hpo.training.fit import train
from hpo.training.progress import StopRequest
from hpo.training.trial_run import TrialRun

pytestmark = pytest.mark.numeric

SYNTHETIC = {"name": "synthetic", "loader": "synthetic:load", "shape": [1, 28, 28]}
TENSORS = {
    name: value
    for name, value in Dataset("synthetic:load_tensors", inputs=synthetic.TENSORS).for_trainer("tensors").items()
    if name not in ("classes", "validation")
}

STREAMED = {
    name: value
    for name, value in Torch("synthetic:datasets", inputs=Tensor(1, 28, 28), workers=0).for_trainer("streamed").items()
    if name not in ("classes", "validation")
}

EVERYTHING = {
    "crop_padding": 2,
    "flip": True,
    "rotation": 10.0,
    "cutout": 4,
    "mixup_alpha": 0.4,
    "label_smoothing": 0.1,
    "ema_decay": 0.9,
    "gradient_clip": 1.0,
    "weight_decay": 1e-3,
    "decay_norm_and_bias": False,
}

F1 = {"metrics": {"val_macro_f1": TASKS["classification"].computed["val_macro_f1"].as_job()}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "mlp with dropout": ({"dropout": 0.3}, {}, {}),
    "mlp, early stopping, plateau": (
        {"dropout": 0.5, "lr": 0.3, "schedule": "plateau", "schedule_patience": 0},
        {},
        {"early_stopping": {"monitor": "val_loss", "patience": 3, "min_delta": 0.0}, "epochs": 6},
    ),
    "mlp in two folds": ({"dropout": 0.3, "optimizer": "sgd", "momentum": 0.9}, {}, {"folds": 2, "epochs": 2}),
    "lenet with everything": (
        {**EVERYTHING, "schedule": "cosine", "warmup_epochs": 0.5},
        {"model": "lenet", "dataset": SYNTHETIC},
        {"subset": None},
    ),
    "batch norm, channels last, everything": (
        {**EVERYTHING, "channels_last": True, "optimizer": "adamw", "schedule": "one_cycle"},
        {"builder": "synthetic:normed", "model": "lenet", "dataset": SYNTHETIC},
        {"subset": None},
    ),
    "mobilenet v3 small, mixup and average": (
        {
            "mixup_alpha": 0.4,
            "ema_decay": 0.9,
            "channels_last": True,
            "precision": "bf16",
            "optimizer": "sgd",
            "momentum": 0.9,
            "width": 0.25,
            "stem_stride": 2,
            "crop_padding": 4,
            "flip": True,
            "rotation": 15.0,
        },
        {"model": "mobilenet_v3_small", "dataset": SYNTHETIC},
        {"subset": None, "epochs": 3},
    ),
    "inputs of two kinds, in groups": (
        {"ema_decay": 0.9, "schedule": "cosine"},
        {"builder": "synthetic:two_inputs", "dataset": TENSORS},
        {"subset": None},
    ),
    "every other augmentation": (
        {
            "alternating_flip": True,
            "elastic": 1.0,
            "zoom": 0.1,
            "shear": 5.0,
            "rotation": 5.0,
            "crop_padding": 1,
            "brightness": 0.4,
            "hue": 0.1,
            "trivial_augment": True,
            "randaugment": 2,
            "random_erasing": 0.5,
            "cutmix_alpha": 1.0,
            "mixup_alpha": 0.2,
            "test_flip": True,
        },
        {"model": "lenet", "dataset": SYNTHETIC},
        {"subset": None, "epochs": 3},
    ),
    "samples loaded one by one, in turns": (
        {"batch_size": 8, "accumulate": 2, "ema_decay": 0.9},
        {"builder": "synthetic:normed", "dataset": STREAMED},
        {"subset": None, "epochs": 2},
    ),
    # Nearly every recipe of a pretrained network: torch's fused SGD refused the parameters that were released.
    "momentum of a body that joins late": (
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "freeze_epochs": 1},
        {},
        {"epochs": 3},
    ),
    "of its own length": ({"epochs": 2, "schedule": "cosine", "dropout": 0.3}, {}, {"epochs": 4}),
    "rmsprop": ({"optimizer": "rmsprop", "momentum": 0.5, "freeze_epochs": 1}, {}, {}),
    "focal, balanced, accumulated": (
        {"loss": "focal", "focal_gamma": 1.5, "class_weights": "balanced", "accumulate": 2, "batch_size": 16},
        {"parts": F1},
        {},
    ),
    "balanced lion": (
        {"class_weights": "balanced", "optimizer": "lion", "lr": 1e-3, "beta1": 0.8},
        {"parts": F1},
        {},
    ),
    "muon": (
        {"optimizer": "muon", "weight_decay": 0.01, "decay_norm_and_bias": False, "schedule": "cosine"},
        {},
        {},
    ),
    "adafactor": ({"optimizer": "adafactor", "dropout": 0.2}, {}, {}),
    **{f"own {name}": (config, {"parts": parts}, {}) for name, (parts, config) in OWN_PARTS.items()},
}
"""Of each: the configuration, what else `make_job` is given, and the protocol."""


class StopAtRead(StopRequest):
    """Asks to stop the nth time it is read: before a step, after an epoch's steps, or during validation."""

    def __init__(self, reads: float) -> None:
        self.keep = True
        self._reads = reads

    @property
    def asked(self) -> bool:
        self._reads -= 1
        return self._reads < 0


def run(job: Any, data: Any, device: torch.device, reads: float) -> tuple[str, list[Epoch], TrialRun]:
    epochs: list[Epoch] = []
    trial = TrialRun(job, data, device, epochs.append, StopAtRead(reads), lambda sentence: None)
    trial.begin()
    outcome, reason = train(trial)
    assert not reason
    return outcome, epochs, trial


def seen(epochs: list[Epoch]) -> dict[int, Any]:
    """What is to be identical: everything but the time."""
    curve: dict[int, Any] = {}
    for epoch in epochs:
        row = (epoch.metrics, epoch.own, [tuple(pair) for pair in epoch.report])
        assert curve.setdefault(epoch.epoch, row) == row, "an epoch told twice differs"
    return curve


@pytest.mark.parametrize("name", CASES)
def test_interrupted_again_and_again_gives_the_same_bits(
    name: str, make_job: Any, data: Any, device: torch.device, tmp_path: Path
) -> None:
    """Curve, metrics and weights are bit-identical, wherever the interruptions fall."""
    config, where, protocol = CASES[name]
    _, straight, reference = run(make_job(**where, protocol=protocol, **config), data, device, float("inf"))
    job = make_job(**where, protocol=protocol, checkpoint=tmp_path / "trial", **config)
    told: list[Epoch] = []
    places = set()
    for attempt in range(60):
        random.seed(attempt)  # a fresh process has numbers of its own
        np.random.seed(attempt)
        outcome, epochs, trial = run(job, data, device, 3 + attempt % 4)
        told += epochs
        if outcome == "complete":
            break
        places.add(trial.progress.step)
    assert outcome == "complete"
    assert len(places) > 3, "interrupted at epoch ends and in the middle"
    assert seen(told) == seen(straight)
    assert len(seen(straight)) >= 2
    assert trial.finished("complete").metrics == reference.finished("complete").metrics
    expected = reference.state.model.state_dict()
    for key, value in trial.state.model.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_stop_without_keep_writes_nothing(make_job: Any, data: Any, device: torch.device, tmp_path: Path) -> None:
    """A pruned trial leaves no checkpoint."""
    stop = StopRequest(keep=False, asked=True)
    trial = TrialRun(make_job(checkpoint=tmp_path / "trial"), data, device, lambda e: None, stop, lambda s: None)
    trial.begin()
    assert train(trial) == ("stopped", "")
    assert not (tmp_path / "trial").exists()


def test_a_checkpoint_of_another_job_is_not_used(
    make_job: Any, data: Any, device: torch.device, tmp_path: Path
) -> None:
    """The same folder with another learning rate starts from the beginning."""
    run(make_job(checkpoint=tmp_path), data, device, 5)
    assert run(make_job(checkpoint=tmp_path), data, device, 0)[2].progress.step > 0
    assert run(make_job(checkpoint=tmp_path, lr=0.5), data, device, 0)[2].progress.step == 0


def test_a_trial_that_waits_after_an_epoch_is_the_trial_that_does_not(
    make_job: Any, data: Any, device: torch.device, tmp_path: Path
) -> None:
    """It stops exactly there, and goes on bit for bit; its last epoch needs no wait."""
    job = make_job(dropout=0.3, checkpoint=tmp_path / "trial", protocol={"epochs": 3})
    _, straight, reference = run(replace(job, checkpoint=""), data, device, float("inf"))
    told: list[Epoch] = []
    for until in (1, 2, 3):
        outcome, epochs, trial = run(replace(job, pause_after=until), data, device, float("inf"))
        assert outcome == ("stopped" if until < 3 else "complete")
        assert [epoch.replayed for epoch in epochs] == [number < until for number in range(1, until + 1)]
        told += epochs
    assert seen(told) == seen(straight)
    expected = reference.state.model.state_dict()
    for key, value in trial.state.model.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_a_trial_whose_checkpoint_is_further_waits_after_its_next_epoch(
    make_job: Any, data: Any, device: torch.device, tmp_path: Path
) -> None:
    """It was written by a process that died before it told: nothing of it is lost."""
    job = make_job(checkpoint=tmp_path / "trial", protocol={"epochs": 4})
    assert run(replace(job, pause_after=2), data, device, float("inf"))[0] == "stopped"
    outcome, epochs, _ = run(replace(job, pause_after=1), data, device, float("inf"))
    assert (outcome, [epoch.epoch for epoch in epochs]) == ("stopped", [1, 2, 3])


def test_a_trial_whose_checkpoint_cannot_be_written_does_not_wait(
    make_job: Any, data: Any, device: torch.device, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("where a folder would have to be")
    for place in ("", tmp_path / "file" / "trial"):
        job = replace(make_job(checkpoint=place, protocol={"epochs": 2}), pause_after=1)
        assert run(job, data, device, float("inf"))[0] == "complete"


@pytest.mark.parametrize("said", [True, False], ids=["as it is written", "as earlier versions wrote it"])
def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(
    data: Any, device: Any, make_job: Any, tmp_path: Path, said: bool
) -> None:
    """With other random numbers, which is said: the state of a GPU's generator has 16 bytes, that of a CPU's 5,056."""
    job = make_job(checkpoint=tmp_path, protocol={"epochs": 4}, flip=True, dropout=0.2)
    run = TrialRun(job, data, device, lambda epoch: None, StopAtRead(20), lambda sentence: None)
    run.begin()
    assert train(run)[0] == "stopped"
    snapshot = run.checkpoints.load()
    assert snapshot is not None
    of_a_gpu = {"random.augmentation": torch.arange(16, dtype=torch.uint8), "random.cuda": torch.zeros(16).byte()}
    progress = {**snapshot.progress, "device": "cuda"}
    if not said:
        del progress["device"]
    run.checkpoints.save(TrainingSnapshot(progress, {**snapshot.tensors, **of_a_gpu}))
    warnings: list[str] = []
    curves: list[list[float]] = []
    for _ in range(2):
        epochs: list[Epoch] = []
        again = TrialRun(job, data, device, epochs.append, StopAtRead(float("inf")), warnings.append)
        again.begin()
        assert train(again)[0] == "complete"  # only fit removes the checkpoint then
        curves.append([epoch.metrics["train_loss"] for epoch in epochs])
        again.checkpoints.save(TrainingSnapshot(progress, {**snapshot.tensors, **of_a_gpu}))
    assert len(curves[0]) == 4
    assert curves[0] == curves[1]
    assert warnings == ["the last checkpoint is of another kind of device; on cpu it draws other random numbers"] * 2
