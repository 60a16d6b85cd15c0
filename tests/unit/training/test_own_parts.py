"""Losses, metrics, optimizers and schedules of the user's own in a trial: what they do, resumed, and when they fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_jobs import METRICS, OWN_PARTS, chosen, part

from hpo.errors import StudyError
from hpo.messages import Epoch, Finished, Inspect, Inspected, Job
from hpo.training import parts_check, preflight
from hpo.training.fit import fit, train
from hpo.training.outcomes import failure
from hpo.training.preflight import inspect_study
from hpo.training.progress import StopRequest
from hpo.training.schedules import Plateau
from hpo.training.train_val_split import TrainValSplit
from hpo.training.trial_run import TrialRun

pytestmark = pytest.mark.numeric


def straight(job: Job, data: Any, device: torch.device) -> tuple[Finished, list[Epoch]]:
    epochs: list[Epoch] = []
    return fit(job, data, device, epochs.append, StopRequest()), epochs


def test_a_loss_of_ones_own_that_is_the_cross_entropy_trains_as_hpos(
    make_job: Any, data: Any, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes by autograd, which is the specification of the faster ways."""
    monkeypatch.setenv("HPO_NATIVE", "0")
    _, plain = straight(make_job(), data, device)
    parts = chosen("loss", "softened", "gamma")
    _, own = straight(make_job(parts=parts, loss="softened", gamma=0.0), data, device)
    assert [epoch.metrics["val_accuracy"] for epoch in own] == [epoch.metrics["val_accuracy"] for epoch in plain]
    for mine, hpos in zip(own, plain, strict=True):
        assert mine.metrics["val_loss"] == pytest.approx(hpos.metrics["val_loss"], rel=1e-4)


def test_metrics_are_of_the_whole_validation_part(make_job: Any, data: Any, device: torch.device) -> None:
    """A function and a class say the same as hpo's accuracy; they are told by their names, not as hpo's."""
    finished, epochs = straight(make_job(parts={"metrics": METRICS}, weight=3.0), data, device)
    for epoch in epochs:
        assert epoch.own["errors"] == pytest.approx(1.0 - epoch.metrics["val_accuracy"], abs=1e-6)
        assert epoch.own["counted"] == pytest.approx(3.0 * epoch.metrics["val_accuracy"])
        assert "errors" not in epoch.metrics
    assert finished.metrics["errors"] == epochs[finished.best_epoch - 1].own["errors"]


def test_objective_stopping_and_rules_go_by_a_metric_of_ones_own(
    make_job: Any, data: Any, device: torch.device
) -> None:
    protocol = {"objectives": ["errors"], "epochs": 6}
    finished, epochs = straight(make_job(parts={"metrics": METRICS}, protocol=protocol), data, device)
    assert [epoch.report for epoch in epochs] == [[(epoch.epoch, epoch.own["errors"])] for epoch in epochs]
    assert finished.best_epoch == min(epochs, key=lambda epoch: epoch.own["errors"]).epoch
    early = {"early_stopping": {"monitor": "counted", "patience": 1, "min_delta": 10.0}}
    assert straight(make_job(parts={"metrics": METRICS}, protocol=protocol | early), data, device)[0].epoch == 2
    rule = {"stop_when": {"metric": "counted", "epoch": 1, "at_least": 0.0}}
    assert straight(make_job(parts={"metrics": METRICS}, protocol=protocol | rule), data, device)[0].epoch == 1


def test_a_metric_that_is_nan_is_told_by_its_name(make_job: Any, data: Any, device: torch.device) -> None:
    """Where something goes by it the trial has diverged; otherwise it is a warning, once."""
    parts = {"metrics": {"odd": part("not_a_number", direction="maximize")}}
    finished, _ = straight(make_job(parts=parts, protocol={"objectives": ["odd"]}), data, device)
    assert (finished.outcome, finished.reason) == ("diverged", "odd is nan in epoch 1")
    finished, epochs = straight(make_job(parts=parts), data, device)
    assert finished.outcome == "complete"
    assert [line for line in finished.facts["warnings"] if "odd" in line] == ["odd is nan in some epochs"]
    assert len(epochs) == 3


def test_a_metric_that_is_no_number_fails_the_trial_by_its_name(make_job: Any, data: Any, device: torch.device) -> None:
    job = make_job(parts={"metrics": {"odd": part("words", direction="maximize")}})
    with pytest.raises(StudyError, match="the metric odd returned str, not one number") as caught:
        straight(job, data, device)
    assert "parts_of_training.py" in failure(job, caught.value).details[0]


def test_a_group_keeps_its_share_of_the_learning_rate(make_job: Any, data: Any, device: torch.device) -> None:
    parts, config = OWN_PARTS["optimizer by layer"]
    job = make_job(parts=parts, **config, schedule="cosine")
    trial = TrialRun(job, data, device, lambda epoch: None, StopRequest(), print)
    trial.begin()
    train(trial)
    low, high = (group["lr"] for group in trial.state.optimizer.param_groups)
    assert 0.0 < low == pytest.approx(0.1 * high)


def test_what_a_job_does_not_name_is_not_imported(make_job: Any, data: Any, device: torch.device) -> None:
    """A configuration may come from a database, where anybody may have put a name."""
    with pytest.raises(StudyError, match="optimizer='os:system' is not a choice"):
        straight(make_job(optimizer="os:system"), data, device)


def test_plateau_takes_the_larger_value_as_the_better_one_where_told() -> None:
    from test_training_recipe import recipe

    settings = recipe(schedule="plateau", schedule_patience=0, schedule_factor=0.5)
    best = Plateau()
    for value, factor in ((-0.5, 1.0), (-0.4, 1.0), (-0.4, 0.5), (0.1, 0.5), (0.05, 0.25), (0.2, 0.25)):
        best.update(value, settings, maximize=True)
        assert best.factor == factor


BROKEN = [
    (chosen("loss", "each_image"), {"loss": "each_image"}, r"a tensor of shape \[\d+\], not a tensor of one number"),
    (chosen("loss", "detached"), {"loss": "detached"}, "has no gradient"),
    (chosen("loss", "raises"), {"loss": "raises"}, "does not work: ValueError: no such class"),
    (chosen("loss", "softened", "dropout"), {"loss": "softened", "dropout": 0.1}, "unexpected keyword argument"),
    (chosen("loss", "absent"), {"loss": "absent"}, "parts_of_training has no function absent"),
    (chosen("optimizer", "no_optimizer"), {"optimizer": "no_optimizer"}, "returned float, not a torch.optim.Optimizer"),
    (chosen("optimizer", "with_closure"), {"optimizer": "with_closure"}, "needs a closure"),
    (chosen("schedule", "negative"), {"schedule": "negative"}, "gave -1.0 at step 0"),
    ({"metrics": {"odd": part("words", direction="maximize")}}, {}, "the metric odd returned str"),
    ({"metrics": {"odd": part("NoUpdate", direction="maximize")}}, {}, r"is a class without update\(\)"),
]


@pytest.mark.parametrize(("parts", "config", "complaint"), BROKEN)
def test_a_broken_part_is_found_before_the_first_trial(
    parts: dict[str, Any], config: dict[str, Any], complaint: str, make_job: Any, data: Any, device: torch.device
) -> None:
    job = make_job(parts=parts, **config)
    problem = inspect_study(Inspect(job, [job.config]), data, device).problem
    assert problem is not None
    with pytest.raises(StudyError, match=complaint):
        raise StudyError(problem["fact"], evidence=problem["evidence"], next=problem["next"])


def test_parts_that_work_pass_the_inspection(make_job: Any, data: Any, device: torch.device) -> None:
    for parts, config in OWN_PARTS.values():
        job = make_job(parts=parts, **config)
        inspected = inspect_study(Inspect(job, [job.config], rehearse=True), data, device)
        assert inspected.problem is None
        assert inspected.rehearsals


def rehearsed(job: Job, data: Any, device: torch.device) -> Inspected:
    return inspect_study(Inspect(job, [job.config], rehearse=True), data, device)


def test_a_metric_that_is_nan_after_the_rehearsed_steps_is_told_by_its_name(
    make_job: Any, data: Any, device: torch.device
) -> None:
    """It stops a search where a trial goes by it; where the loss is no number either, that is the configuration's."""
    parts = {"metrics": {"odd": part("not_a_number", direction="maximize")}}
    told = rehearsed(make_job(parts=parts), data, device)
    assert told.problem is None
    assert told.data["notes"] == ["odd is nan after a few steps with lr 0.01 · batch_size 32"]
    problem = rehearsed(make_job(parts=parts, protocol={"objectives": ["odd"]}), data, device).problem
    assert problem is not None
    assert problem["fact"] == "the metric odd is nan for all 60 validation samples, and a trial goes by it"
    assert "parts_of_training.py, line" in problem["evidence"][1]
    wild = rehearsed(make_job(parts=parts, protocol={"objectives": ["odd"]}, lr=1e30), data, device)
    assert wild.problem is None
    assert [note for note in wild.data["notes"] if "odd" not in note] == [
        "val_loss is nan after a few steps with lr 1e+30 · batch_size 32: such a trial ends as diverged"
    ]


def test_a_metric_is_refused_for_all_that_is_scored_not_for_some_of_it(
    make_job: Any, data: Any, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "SCORED_AT_MOST", 40)
    parts = {"metrics": {"rare": part("number_of_many", direction="maximize")}}
    told = rehearsed(make_job(parts=parts, protocol={"objectives": ["rare"]}), data, device)
    assert told.problem is None
    assert told.data["notes"] == []


def test_a_rare_class_is_among_the_targets_that_a_metric_is_tried_with(
    make_job: Any, data: Any, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else val_auroc would be refused where 1 in 1,000 is a fraud; and some that give it no value refuse no search."""
    split = data.parts(make_job())
    labels = split.images.labels[split.some_validation(12)]
    assert sorted(set(labels.tolist())) == list(range(10))
    assert len(labels) == 12
    assert len(split.some_validation(1000)) == len(split.validation)
    parts = {
        "metrics": {
            "val_auroc": {"function": "hpo.training.built_in_metrics:auroc", "reads": [], "direction": "maximize"}
        }
    }
    job = make_job(parts=parts, protocol={"objectives": ["val_auroc"]})
    monkeypatch.setattr(parts_check, "MOST", 1)
    monkeypatch.setattr(preflight, "SCORED_AT_MOST", 1)
    assert rehearsed(job, data, device).problem is None
    monkeypatch.setattr(parts_check, "MOST", 512)
    monkeypatch.setattr(TrainValSplit, "some_targets", lambda split, index: torch.zeros(len(index), dtype=torch.int64))
    problem = rehearsed(job, data, device).problem
    assert problem is not None
    assert problem["fact"] == "val_auroc has no value: all 60 labels are of one class"
