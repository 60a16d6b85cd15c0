"""How a trial ends, what it reports, and what it leaves."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
import synthetic
import torch
from numerics import accuracies
from safetensors.torch import load_file

from hpo.errors import DataError, StudyError
from hpo.messages import Epoch, Finished, Job
from hpo.models.build import build_model
from hpo.training import checkpoint as checkpoints
from hpo.training.checkpoint import Checkpoints, TrainingSnapshot
from hpo.training.fit import fit, train
from hpo.training.outcomes import failure
from hpo.training.progress import StopRequest
from hpo.training.trial_run import TrialRun

pytestmark = pytest.mark.numeric

GUARDED = {"loader": "synthetic:load_without_test", "name": "synthetic", "shape": [1, 28, 28]}
EARLY = {"monitor": "val_accuracy", "patience": 2, "min_delta": 0.0}


class Bench:
    """fit() with what it said kept."""

    def __init__(self, data: Any, device: torch.device) -> None:
        self.data, self.device = data, device
        self.epochs: list[Epoch] = []
        self.warnings: list[str] = []

    def fit(self, job: Job) -> Finished:
        self.epochs, self.warnings = [], []
        return fit(job, self.data, self.device, self.epochs.append, StopRequest(), self.warnings.append)


@pytest.fixture
def bench(data: Any, device: torch.device) -> Bench:
    return Bench(data, device)


def test_a_trial_has_the_length_of_its_row_and_so_has_its_schedule(bench: Bench, make_job: Any) -> None:
    """The study's epochs are the most; an evaluation that stops sooner keeps the schedule."""
    lengths = ((2, 5, None), (9, 3, None), (4, 5, 2))
    for epochs, most, stop_after in lengths:
        protocol = {"epochs": most, "stop_after": stop_after}
        finished = bench.fit(make_job(schedule="cosine", epochs=epochs, protocol=protocol))
        rates = [epoch.metrics["lr"] for epoch in bench.epochs]
        alone = bench.fit(make_job(schedule="cosine", protocol={**protocol, "epochs": min(epochs, most)}))
        assert (finished.outcome, finished.epoch) == ("complete", min(epochs, most, stop_after or most))
        assert rates == [epoch.metrics["lr"] for epoch in bench.epochs]
        assert finished.metrics == alone.metrics
    with pytest.raises(StudyError, match="epochs=0 must be at least 1"):
        bench.fit(make_job(epochs=0))


def test_a_trial_reports_every_epoch_and_its_best(bench: Bench, make_job: Any) -> None:
    """Metrics of the best epoch, facts of the whole, one report per epoch."""
    finished = bench.fit(make_job(protocol={"epochs": 4}))
    assert finished.outcome == "complete"
    assert finished.epoch == 4
    assert [epoch.report for epoch in bench.epochs] == [[(e.epoch, e.metrics["val_accuracy"])] for e in bench.epochs]
    best = max(bench.epochs, key=lambda epoch: epoch.metrics["val_accuracy"])
    assert finished.best_epoch == best.epoch
    assert best.metrics.items() <= finished.metrics.items()
    assert finished.metrics["parameters"] == 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10
    assert finished.metrics["macs"] == 64 * 32 + 32 * 16 + 16 * 10
    facts = finished.facts
    assert 1.5 < facts["initial_loss"] < 3.5
    assert facts["expected_initial_loss"] == pytest.approx(math.log(10))
    assert facts["resumed_epoch"] is None
    assert facts["peak_memory_bytes"] > 1e7
    assert facts["train_seconds"] >= sum(epoch.seconds for epoch in bench.epochs) * 0.99
    assert len(facts["data_checksum"]) == 64
    assert facts["val_images"] == len(bench.data.parts(make_job(protocol={"epochs": 4})).validation) > 0
    assert bench.warnings == facts["warnings"] == []


def test_it_learns(bench: Bench, make_job: Any) -> None:
    """Twelve epochs on all digits: above 95 % validation accuracy, six images of 287 below the worst of 60 seeds."""
    job = make_job(hidden_units=[128, 64], protocol={"epochs": 12, "subset": None})
    assert bench.fit(job).metrics["val_accuracy"] > 0.95


def test_the_best_weights_are_restored(make_job: Any, data: Any, device: torch.device) -> None:
    """After early stopping the model scores what its best epoch scored, with averaged weights too."""
    for ema in (0.0, 0.5):
        job = make_job(lr=0.05, ema_decay=ema, protocol={"epochs": 30, "early_stopping": EARLY})
        trial = TrialRun(job, data, device, lambda e: None, StopRequest(), lambda s: None)
        trial.begin()
        train(trial)
        finished = trial.finished("complete")
        assert finished.best_epoch == finished.epoch - 2
        trial.progress.step = 1
        rescored = trial.score_epoch()
        assert rescored is not None
        assert rescored["val_loss"] == finished.metrics["val_loss"]


def test_a_loss_that_is_not_finite_is_diverged(bench: Bench, make_job: Any) -> None:
    """So is one that explodes. The reason says which, and when."""
    finished = bench.fit(make_job(optimizer="sgd", lr=1e30))
    assert finished.outcome == "diverged"
    assert finished.reason in ("train_loss is nan in epoch 1", "train_loss is inf in epoch 1")
    finished = bench.fit(make_job(optimizer="adam", lr=1e5))
    assert finished.outcome == "diverged"
    assert "val_loss is" in finished.reason
    assert "above 2303" in finished.reason


def test_max_seconds_ends_with_the_best_so_far(bench: Bench, make_job: Any) -> None:
    """Even when not one epoch is over by then: what there is is scored."""
    for seconds in (1e-6, 0.3):
        start = time.perf_counter()
        finished = bench.fit(make_job(protocol={"epochs": 100_000, "max_seconds": seconds}))
        assert time.perf_counter() - start < 10
        assert finished.facts["out_of_time"]
        assert finished.outcome == "complete"
        assert finished.epoch == len(bench.epochs) >= 1
        assert "val_accuracy" in finished.metrics


def test_folds_report_their_running_mean(bench: Bench, make_job: Any) -> None:
    """Three folds of two epochs: six epochs, three reports, and the objective is the mean of the folds' best."""
    finished = bench.fit(make_job(protocol={"folds": 3, "epochs": 2}))
    reports = [epoch.report for epoch in bench.epochs]
    assert [len(report) for report in reports] == [0, 1, 0, 1, 0, 1]
    results = [fold["val_accuracy"] for fold in finished.facts["folds"]]
    assert [report[0] for report in reports if report] == [(n, pytest.approx(sum(results[:n]) / n)) for n in (1, 2, 3)]
    assert finished.metrics["val_accuracy"] == pytest.approx(sum(results) / 3)
    assert len({fold["val_loss"] for fold in finished.facts["folds"]}) == 3  # other images each
    assert [epoch.epoch for epoch in bench.epochs] == [1, 2, 3, 4, 5, 6]


def test_seeds_train_the_same_images_again_with_other_random_numbers(bench: Bench, make_job: Any) -> None:
    """The first seed is the training that a study without `seeds` has, bit for bit."""
    alone = bench.fit(make_job(protocol={"epochs": 2}))
    first = [epoch.metrics for epoch in bench.epochs]
    bench.epochs.clear()
    finished = bench.fit(make_job(protocol={"seeds": 3, "epochs": 2}))
    assert [epoch.metrics for epoch in bench.epochs][:2] == first
    reports = [epoch.report for epoch in bench.epochs]
    assert [len(report) for report in reports] == [0, 1, 0, 1, 0, 1]
    results = [seed["val_loss"] for seed in finished.facts["seeds"]]
    assert len(set(results)) == 3
    assert finished.metrics["val_loss"] == pytest.approx(sum(results) / 3)
    assert finished.facts["val_images"] == 3 * alone.facts["val_images"]


def test_latency_is_measured_where_the_study_asks(bench: Bench, make_job: Any) -> None:
    """And only there."""
    assert "latency_ms" not in bench.fit(make_job(protocol={"epochs": 1})).metrics
    assert 0 < bench.fit(make_job(protocol={"epochs": 1, "measure_latency": True})).metrics["latency_ms"] < 1000


def test_a_device_without_bf16_trains_in_float32_and_says_so(
    bench: Bench, make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit what float32 gives, and a fact of the trial; where the hardware has bf16 there is no such fact."""
    for has in (True, False):
        for module in ("step", "trial_run", "fast_paths"):
            monkeypatch.setattr(f"hpo.training.{module}.supports_bf16", lambda device, has=has: has)
        asked, plain = (bench.fit(make_job(precision=precision)) for precision in ("bf16", "float32"))
        assert asked.facts.get("precision") == (None if has else "float32")
        assert (asked.metrics["val_loss"] == plain.metrics["val_loss"]) is not has
        assert "precision" not in plain.facts


def test_a_search_never_opens_the_test_split(bench: Bench, make_job: Any) -> None:
    """A loader that refuses the test split serves a search, folds included, and fails the final phase."""
    for folds in (None, 2):
        protocol = {"folds": folds, "epochs": 1, "subset": None}
        assert bench.fit(make_job("lenet", dataset=GUARDED, protocol=protocol)).outcome == "complete"
    with pytest.raises(AssertionError, match="test split was opened"):
        bench.fit(make_job("lenet", dataset=GUARDED, phase="final", protocol={"epochs": 1, "subset": None}))


def test_the_final_phase_scores_the_test_split_and_saves_the_model(bench: Bench, make_job: Any, tmp_path: Path) -> None:
    """Exactly the epochs asked for, on train and validation images; the saved model gives the reported accuracy."""
    job = make_job(
        ema_decay=0.5,
        phase="final",
        checkpoint=tmp_path,
        protocol={"epochs": 5, "subset": None, "early_stopping": {**EARLY, "patience": 1}, "max_seconds": 1e-9},
    )
    finished = bench.fit(job)
    assert finished.outcome == "complete"
    assert finished.epoch == finished.best_epoch == 5
    assert all("val_loss" not in epoch.metrics and not epoch.report for epoch in bench.epochs)
    facts = finished.facts
    assert sum(map(sum, facts["confusion"])) == 360
    right = sum(row[label] for label, row in enumerate(facts["confusion"]))
    assert finished.metrics["test_accuracy"] == pytest.approx(right / 360)
    assert finished.metrics["test_accuracy"] > 0.8
    assert len(facts["per_class_accuracy"]) == 10
    assert 0.8 < facts["macro_f1"] <= 1
    assert 0 < facts["latency_p50_ms"] <= facts["latency_p95_ms"]
    assert facts["images_per_second"] > 0

    described = json.loads((tmp_path / "config.json").read_text())
    model = build_model(described["model"], tuple(described["shape"]), 10, described["parameters"]).eval()
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    test = bench.data.test(job, bench.data.parts(job).images)
    images, labels = test.batch(torch.arange(len(test)))
    with torch.inference_mode():
        least, most = accuracies(model(images), labels)
    assert least <= finished.metrics["test_accuracy"] <= most
    assert most - least < 0.01  # no more than three images in doubt


def test_a_finished_trial_is_answered_without_training(bench: Bench, make_job: Any, tmp_path: Path) -> None:
    """The same message and the same epochs, marked as told before; and again trained should the record be torn."""
    job = make_job(checkpoint=tmp_path)
    first, told = bench.fit(job), bench.epochs
    broken = make_job(checkpoint=tmp_path, builder="synthetic:breaking")
    assert bench.fit(job) == Finished(**json.loads(json.dumps(vars(first))))
    assert [(e.epoch, e.metrics) for e in bench.epochs] == [(e.epoch, e.metrics) for e in told]
    assert all(epoch.replayed for epoch in bench.epochs)
    with pytest.raises(RuntimeError, match="boom"):
        bench.fit(broken)  # another job does not get this one's answer
    record = tmp_path / "finished.json"
    record.write_bytes(record.read_bytes()[:-9])
    assert bench.fit(job).metrics == first.metrics
    assert not any(epoch.replayed for epoch in bench.epochs)


def snapshots(job: Job) -> Checkpoints:
    return Checkpoints(job, pytest.fail)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-100], lambda b: b[:500] + b"x" + b[501:], lambda b: b"", lambda b: b[:20]]
)
def test_a_torn_checkpoint_gives_way_to_the_previous_one(damage: Any, make_job: Any, tmp_path: Path) -> None:
    """And when both are damaged training starts from the beginning."""
    job = make_job(checkpoint=tmp_path)
    for number in (1, 2, 3):
        assert snapshots(job).save(TrainingSnapshot({"n": number}, {"weights": torch.full((300,), float(number))}))
    found = snapshots(job).load()
    assert found is not None
    assert (found.progress, found.tensors["weights"][0].item()) == ({"n": 3}, 3.0)
    current = tmp_path / "current"
    current.write_bytes(damage(current.read_bytes()))
    found = snapshots(job).load()
    assert found is not None
    assert (found.progress, found.tensors["weights"][0].item()) == ({"n": 2}, 2.0)
    current.unlink()
    (tmp_path / "previous").write_bytes(damage((tmp_path / "previous").read_bytes()))
    assert snapshots(job).load() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["previous"], "no temporary files stay behind"


def test_checkpoints_take_at_most_a_fiftieth_of_the_time(
    make_job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due only when fifty times the last write has passed since."""
    now = 100.0
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: now)
    kept = snapshots(make_job(checkpoint=tmp_path))
    assert not kept.due(0)
    now += 0.51
    assert kept.due(0)
    assert not kept.due(300_000_000)
    kept.save(TrainingSnapshot({}, {}))
    kept._write_seconds = 2.0
    now += 99
    assert not kept.due(0)
    now += 1.01
    assert kept.due(0)


def test_a_full_disk_is_said_once_and_costs_no_result(
    bench: Bench, make_job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training completes with the same metrics, with one warning, and no half-written file stays."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    expected = bench.fit(make_job()).metrics
    monkeypatch.setattr(checkpoints.os, "fsync", full)
    monkeypatch.setattr(Checkpoints, "due", lambda self, size: True)
    finished = bench.fit(make_job(checkpoint=tmp_path))
    assert finished.metrics == expected
    assert len(bench.warnings) == 1
    assert "No space left on device" in bench.warnings[0]
    assert finished.facts["warnings"] == bench.warnings
    assert [path.name for path in tmp_path.iterdir()] == ["finished.json"]


def test_a_folder_that_cannot_be_made_is_a_warning(bench: Bench, make_job: Any, tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "file").write_text("")
    finished = bench.fit(make_job(checkpoint=tmp_path / "file" / "trial"))
    assert finished.outcome == "complete"
    assert len(bench.warnings) == 1


def test_failures_are_told_apart(make_job: Any) -> None:
    """Out of memory with the shapes, bad data with its evidence, and a bug with its traceback."""
    job = make_job()
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
    ):
        finished = failure(job, error)
        assert finished.outcome == "out_of_memory"
        assert finished.reason.startswith("batch [32, 1, 8, 8]; hpo.models.mlp:mlp(layers=2, hidden_units=[32, 16]")
    bad = failure(job, DataError("train-labels is damaged", evidence=["MD5 1"], next="fetch it"))
    assert (bad.outcome, bad.reason, bad.details) == (
        "bad_data",
        "train-labels is damaged",
        ["  MD5 1", "next: fetch it"],
    )
    try:
        synthetic.Breaking()(torch.zeros(1, 64))
    except RuntimeError as error:
        bug = failure(job, error)
    assert (bug.outcome, bug.reason) == ("failed", "RuntimeError: boom")
    assert bug.details[-1] == "RuntimeError: boom"
    assert any("raise self.error" in line for line in bug.details)
    assert re.fullmatch(r".*synthetic\.py:\d+", bug.where)


def test_the_users_line_is_in_the_traceback_however_deep_a_library_goes_below_it(make_job: Any) -> None:
    """torch puts ten frames of its own below a user's; the last lines alone would not say whose call it was."""

    calls = "\n".join(f"def f{depth}(): return f{depth + 1}()" for depth in range(30))
    library = f"{calls}\ndef f30(): return 1 // 0\nf0()"

    def deep() -> None:
        exec(library, {})

    try:
        deep()
    except ZeroDivisionError as error:
        bug = failure(make_job(), error)
    line = deep.__code__.co_firstlineno + 1
    assert bug.where.endswith(f"test_training_fit.py:{line}")
    assert f'test_training_fit.py", line {line}' in bug.details[0]
    assert bug.details[-1].startswith("ZeroDivisionError")
    assert len(bug.details) <= 20


def test_a_surprising_first_loss_is_said(bench: Bench, make_job: Any) -> None:
    """A model whose first outputs are far from guessing is worth a warning, not a refusal."""
    finished = bench.fit(make_job(builder="synthetic:overconfident", protocol={"epochs": 1}))
    assert finished.outcome == "complete"
    assert "guessing" in finished.facts["warnings"][0]
