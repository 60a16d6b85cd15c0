"""A trial as the job its trainer gets."""

from __future__ import annotations

from hpo.coordinator.trial import Trial
from hpo.discovery import FoundStudy
from hpo.messages import Job
from hpo.seeds import trial_seed

__all__ = ["make_job"]


def make_job(found: FoundStudy, trial: Trial) -> Job:
    """Everything a trainer needs to train `trial`, and nothing of the database."""
    study = found.study
    dataset, model = study.dataset_row, study.model_row
    return Job(
        trial_id=trial.trial_id,
        number=trial.number,
        config=trial.config,
        plan=study.plan(),
        model={"builder": model.builder, "reads": list(model.reads)},
        dataset={
            "name": study.dataset_name,
            "loader": dataset.loader,
            "shape": list(dataset.shape),
            "classes": list(dataset.classes),
            "validation": dataset.validation,
        },
        seed=trial_seed(study.seed, trial.number),
        checkpoint=trial.checkpoint,
        sys_path=list(found.sys_path),
    )
