"""Losses, metrics, optimizers and schedules of the user's own in a declaration: what it takes, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import parts_of_training
import pytest

from hpo import AtMost, Categorical, EarlyStopping, Float, Loss, Metric, Optimizer, Schedule, StopWhen, Study
from hpo.errors import StudyError
from hpo.messages import Job, decode, encode
from hpo.models import Reads
from hpo.search.code import source_digests
from hpo.study.discovery import FoundStudy
from hpo.study.own import foreign_parts, shown_parts
from hpo.trainers.jobs import study_job
from hpo.trainers.preflight import configurations

SPACE: dict[str, Any] = {"hidden_units": 8, "batch_size": 64, "lr": Float(1e-4, 1e-1, log=True)}
FOCAL = Loss("parts_of_training:softened", reads={"gamma": Reads(float, 2.0, low=0.0)})
ERRORS = Metric("parts_of_training:error_rate", direction="minimize")
SIGN = Optimizer("parts_of_training:sign_descent", reads={"momentum": Reads(float, 0.9, low=0.0, high=1.0)})


def make(**changes: Any) -> Study:
    given = {"name": "tiny", "dataset": "digits", "model": "shallow", "space": SPACE, "baseline": {"lr": 1e-2}}
    return Study(**{**given, **changes})


def job(study: Study) -> Job:
    return study_job(FoundStudy(study, Path(__file__)), study.baseline_config)


def test_a_part_is_in_every_configuration_with_what_it_reads() -> None:
    study = make(loss=FOCAL, optimizer=SIGN, schedule=parts_of_training.triangle)
    assert study.baseline_config["loss"] == "parts_of_training:softened"
    assert study.baseline_config["gamma"] == 2.0
    assert study.baseline_config["optimizer"] == "parts_of_training:sign_descent"
    assert study.baseline_config["momentum"] == 0.9, "its own default, and not that of the recipe"
    assert study.baseline_config["schedule"] == "parts_of_training:triangle"
    searched = make(loss=FOCAL, space=SPACE | {"gamma": Float(0.0, 5.0)}, baseline={"lr": 1e-2, "gamma": 1.0})
    assert searched.baseline_config["gamma"] == 1.0


def test_a_row_chooses_between_hpos_and_ones_own() -> None:
    row = Categorical("adam", "sgd", "parts_of_training:sign_descent")
    study = make(optimizer=SIGN, space=SPACE | {"optimizer": row}, baseline={"lr": 1e-2, "optimizer": "adam"})
    assert study.baseline_config["momentum"] == 0.0
    assert study.resolve({"optimizer": "parts_of_training:sign_descent"})["momentum"] == 0.9
    assert {config["optimizer"] for config in configurations(FoundStudy(study, Path()))} == set(row.choices)


def test_a_study_without_parts_has_the_configurations_and_keys_it_had() -> None:
    """What was trained before is found again: checkpoints, evaluations, the trials of a candidate."""
    config = make().baseline_config
    assert not {"loss", "schedule_metric"} & config.keys()
    assert make().parts.as_job() == {}
    assert "loss" not in json.dumps(make().declaration())


def test_the_key_of_a_job_and_the_declaration_change_with_a_part() -> None:
    made = [make(), make(loss=FOCAL), make(metrics={"errors": ERRORS}), make(optimizer=SIGN)]
    assert len({job(study).key for study in made}) == len({study.fingerprint() for study in made}) == len(made)
    assert decode(encode(job(made[1]))) == job(made[1])
    moved = job(made[1])
    there = {"loss": {"losses.py:f": {"function": "/there/losses.py:f", "reads": []}}}
    here = {"loss": {"losses.py:f": {"function": "/here/losses.py:f", "reads": []}}}
    assert replace(moved, parts=there).key == replace(moved, parts=here).key


def test_the_files_of_parts_are_among_the_code_of_a_study() -> None:
    assert "parts_of_training" in source_digests(make(metrics={"errors": ERRORS}))
    assert "parts_of_training" not in source_digests(make())


def test_only_what_the_study_names_is_foreign_code_that_may_run() -> None:
    parts = make(loss=FOCAL, metrics={"errors": ERRORS}).parts.as_job()
    assert shown_parts(parts) == ["loss parts_of_training:softened", "metric errors parts_of_training:error_rate"]
    assert foreign_parts(parts) == ["parts_of_training:softened", "parts_of_training:error_rate"]
    for spoilt in (3, {"loss": 3}, {"loss": {"x": "os:system"}}, {"metrics": {"x": {"function": "os:system"}}}):
        assert foreign_parts(spoilt) in ([], ["os:system"])


def test_everything_that_takes_a_metric_takes_ones_own() -> None:
    study = make(
        metrics={"errors": ERRORS},
        objective="errors",
        early_stopping=EarlyStopping(patience=2, monitor="errors"),
        stop_when=StopWhen(epoch=1, at_least=0.5, metric="errors"),
        constraints=(AtMost("errors", limit=0.5),),
        space=SPACE | {"schedule": "plateau", "schedule_metric": "errors"},
    )
    assert study.directions == ("minimize",)
    assert study.declaration()["(objective)"] == "minimize errors"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"loss": "focal"}, r"loss='focal' is not of the form module:name(.|\n)*next: \"loss\": 'focal' in the space"),
        ({"loss": ERRORS}, "loss is a Metric, not a Loss"),
        ({"loss": lambda outputs, targets: outputs}, "the loss is a lambda"),
        ({"optimizer": [SIGN, SIGN]}, "give each a name"),
        ({"optimizer": [SIGN, "a:b"]}, r'no row chooses the optimizer(.|\n)*"optimizer": Categorical\('),
        ({"metrics": {"errors": "a:b"}}, "is 'a:b', not a Metric with a direction"),
        ({"metrics": [ERRORS]}, "not a mapping of names"),
        ({"metrics": {"val_loss": ERRORS}}, "hpo reports a val_loss of its own"),
        ({"metrics": {"my errors": ERRORS}}, "'my errors' is not the name of a metric"),
        ({"objective": "errors"}, r'names "errors"(.|\n)*metrics=\{"f1": Metric\("my_parts:f1"'),
        ({"early_stopping": EarlyStopping(patience=1, monitor="errors")}, r"EarlyStopping(.|\n)*Metric\("),
        ({"stop_when": StopWhen(1, 0.5, "errors")}, r"StopWhen(.|\n)*Metric\("),
        ({"constraints": (AtMost("errors", limit=1.0),)}, r"AtMost(.|\n)*Metric\("),
        ({"space": SPACE | {"schedule": "plateau", "schedule_metric": "errors"}}, r"schedule_metric(.|\n)*Metric\("),
        ({"space": SPACE | {"optimizer": "lamb"}}, r'not a choice(.|\n)*optimizer=Optimizer\("my_parts:build"\)'),
        ({"space": SPACE | {"schedule": "lamb"}}, r'not a choice(.|\n)*schedule=Schedule\("my_parts:factor"\)'),
        ({"space": SPACE | {"loss": "lamb"}}, r'not a choice(.|\n)*loss=Loss\("my_parts:focal"\)'),
        ({"model": "lamb"}, r'unknown model(.|\n)*model=Model\("my_models:build"'),
        ({"dataset": "lamb"}, r'unknown data set(.|\n)*dataset=Dataset\("my_data:load"'),
        ({"loss": FOCAL, "space": SPACE | {"gamma": -1.0}}, "gamma=-1 must be at least 0"),
        ({"loss": Loss("a:b", reads={"gamma": Reads(float)})}, 'a part of your own needs "gamma"'),
    ],
)
def test_what_is_no_part_is_refused_with_the_way_to_bring_one(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        make(**changes)


@pytest.mark.parametrize(
    ("make_part", "complaint"),
    [
        (lambda: Metric("a:b"), 'direction="maximize"'),
        (lambda: Metric("a:b", "maximize"), "does not say what it reads"),
        (lambda: Loss("focal"), "is not of the form module:name"),
        (lambda: Schedule("a:b", reads={"x": float}), r"reads=\{\"gamma\": Reads\(float, 2.0\)\}"),
    ],
)
def test_a_part_that_says_too_little_is_refused(make_part: Any, complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        make_part()


def test_a_training_of_ones_own_takes_no_parts() -> None:
    with pytest.raises(StudyError, match=r"loss=.* has no meaning"):
        Study(name="t", train="a:b", objective="f1", direction="maximize", space={"lr": 0.1}, baseline={}, loss="a:b")  # type: ignore[call-arg]
