"""From a study to the jobs its trainers get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.messages import Job
from hpo.own_messages import OwnCommand, OwnTraining
from hpo.seeds import trial_seed
from hpo.study.command import Command, history_of, output_of, placeholders
from hpo.study.discovery import FoundStudy
from hpo.study.objective import Objective
from hpo.study.study import Study
from hpo.study.training import Training
from hpo.trainers.process import COMMAND_TRAINER, TRAINER

if TYPE_CHECKING:
    from hpo.trainers.trial import Trial

__all__ = ["make_job", "study_job", "trainer_for"]


def trainer_for(found: FoundStudy, given: Sequence[str] = TRAINER) -> Sequence[str]:
    """The command that starts a trainer for the study, where `given` is not another one than usual."""
    return COMMAND_TRAINER if found.study.program is not None and given == TRAINER else given


def make_job(found: FoundStudy, trial: Trial) -> Job:
    """Everything a trainer needs to train `trial`, and nothing of the database."""
    seed = trial_seed(found.study.seed, trial.number)
    job = replace(
        study_job(found, trial.config),
        trial_id=trial.trial_id,
        number=trial.number,
        seed=seed,
        checkpoint=trial.checkpoint,
        pause_after=trial.until,
    )
    if job.own is not None:
        return replace(job, own=replace(job.own, ahead=trial.ahead))
    if found.study.program is None:
        return job
    return replace(job, command=_filled(found, found.study.program, job))


def study_job(found: FoundStudy, config: Mapping[str, Any]) -> Job:
    """A job for a resolved configuration outside the trials, with the baseline's seed and number."""
    study = found.study
    if study.own is not None:
        return replace(_own_job(found, config), own=_own_training(study, study.own))
    if study.program is not None:
        job = _own_job(found, config)
        return replace(job, command=_filled(found, study.program, job)) if config else job
    model = study.model_row
    graphs = {"cuda_graphs": True} if model.cuda_graphs else {}  # absent from jobs of earlier versions
    return Job(
        trial_id=0,
        number=0,
        config=dict(config),
        protocol=study.protocol(),
        model={"builder": model.builder, "reads": list(model.reads), **graphs},
        dataset=found.dataset,
        seed=trial_seed(study.seed, 0),
        sys_path=list(found.sys_path),
        parts=study.parts.as_job(),
    )


def _own_job(found: FoundStudy, config: Mapping[str, Any]) -> Job:
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
    )


def _own_training(study: Study, own: Objective | Training) -> OwnTraining:
    return OwnTraining(
        own.reference,
        study.name,
        own.directions,
        own.metrics,
        define_by_run=study.define_by_run,
        final=own.final if isinstance(own, Training) else "",
    )


def _filled(found: FoundStudy, command: Command, job: Job) -> OwnCommand:
    """The command with the values of `job` in its placeholders."""
    values = placeholders(job.config, job.number, job.seed, job.checkpoint)
    return OwnCommand(
        argv=tuple(command.argv(values)),
        shown=command.line(values),
        folder=command.folder or str(Path.cwd()),
        objectives=found.study.objectives,
        maximize=found.study.directions[0] == "maximize",
        patterns=command.patterns,
        keep_best=command.value == "best",
        output=str(output_of(Path(job.checkpoint))) if job.checkpoint else "",
        history=str(history_of(Path(job.checkpoint))) if job.checkpoint else "",
    )
