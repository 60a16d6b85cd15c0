"""From a study to the jobs its trainers get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo.messages import Job
from hpo.own_messages import OwnTraining
from hpo.seeds import trial_seed
from hpo.study.discovery import FoundStudy
from hpo.study.objective import Objective
from hpo.study.training import Training

if TYPE_CHECKING:
    from hpo.trainers.trial import Trial

__all__ = ["make_job", "study_job"]


def make_job(found: FoundStudy, trial: Trial) -> Job:
    """Everything a trainer needs to train `trial`, and nothing of the database."""
    return replace(
        study_job(found, trial.config),
        trial_id=trial.trial_id,
        number=trial.number,
        seed=trial_seed(found.study.seed, trial.number),
        checkpoint=trial.checkpoint,
    )


def study_job(found: FoundStudy, config: Mapping[str, Any]) -> Job:
    """A job for a resolved configuration outside the trials, with the baseline's seed and number."""
    study = found.study
    if study.own is not None:
        return _own_job(found, study.own, config)
    dataset, model = study.dataset_row, study.model_row
    return Job(
        trial_id=0,
        number=0,
        config=dict(config),
        protocol=study.protocol(),
        model={"builder": model.builder, "reads": list(model.reads)},
        dataset={
            "name": study.dataset_name,
            "loader": dataset.loader,
            "shape": list(dataset.shape),
            "classes": list(dataset.classes),
            "validation": dataset.validation,
        },
        seed=trial_seed(study.seed, 0),
        sys_path=list(found.sys_path),
    )


def _own_job(found: FoundStudy, own: Objective | Training, config: Mapping[str, Any]) -> Job:
    study = found.study
    return Job(
        trial_id=0,
        number=0,
        config=dict(config),
        protocol=study.protocol(),
        model={},
        dataset={},
        seed=trial_seed(study.seed, 0),
        sys_path=list(found.sys_path),
        own=OwnTraining(
            own.reference,
            study.name,
            own.directions,
            own.metrics,
            define_by_run=study.define_by_run,
            final=own.final if isinstance(own, Training) else "",
        ),
    )
