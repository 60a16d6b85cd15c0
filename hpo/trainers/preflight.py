"""Let a trainer inspect a study before the first trial, and raise the problem it finds.

Imports neither torch nor optuna: `hpo check` stays quick to start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from hpo import errors
from hpo.errors import DeviceError, HpoError, StudyError
from hpo.messages import Inspect, Inspected, Ready
from hpo.study.discovery import FoundStudy
from hpo.study.parts import CHOSEN
from hpo.trainers.jobs import study_job, trainer_for
from hpo.trainers.process import TrainerProcess, next_after

__all__ = ["MOST", "configurations", "inspect_with", "rehearse", "request"]

MOST = 200
"""At most this many configurations are built: the first and the last ones of a space with more branches."""


def configurations(found: FoundStudy) -> list[dict[str, Any]]:
    """Both ends of every branch and the baseline, resolved; the same network, batch size and parts only once."""
    study = found.study
    if study.define_by_run or study.program is not None:
        return []
    reads = list(study.rows.rows) if study.own is not None else [*study.model_row.reads, "batch_size"]
    if study.own is None and (own := list(study.parts)):
        reads += [*CHOSEN, *(name for part in own for name in part.reads)]
    different: dict[str, dict[str, Any]] = {}
    for resolved in [study.baseline_config, *map(study.resolve, study.rows.branches())]:
        different.setdefault(json.dumps([resolved.get(name) for name in reads]), resolved)
    configs = list(different.values())
    return configs if len(configs) <= MOST else [*configs[: MOST // 2], *configs[-MOST // 2 :]]


def request(found: FoundStudy, *, rehearse: bool = False, sample: str = "") -> Inspect:
    config = found.study.baseline_config if found.study.program is not None else {}
    return Inspect(study_job(found, config), configurations(found), rehearse, sample)


def inspect_with(
    process: TrainerProcess, name: str, meanwhile: Callable[[], None] | None = None
) -> tuple[Ready, Inspected] | None:
    """What a trainer answers to a `request`; None when it died instead.

    meanwhile: called every second while it imports the user's files. What it raises ends the wait
    Raises the StudyError or DataError that it found, with the study's name in it.
    """
    ready: Ready | None = None
    while True:
        while ready is not None and meanwhile is not None and not process.connection.poll(1.0):
            meanwhile()
        message = process.receive()
        if message is None:
            return None
        if isinstance(message, Ready):
            ready = message
        elif isinstance(message, Inspected):
            assert ready is not None
            if message.problem is not None:
                raise _error(name, message.problem)
            return ready, message


def rehearse(found: FoundStudy, device: str, *, sample: str = "") -> tuple[Ready, Inspected]:
    """A full inspection by a new trainer on `device`. Raises HpoError if the study cannot run.

    sample: the file to draw a few images into, as training will see them
    """
    process = TrainerProcess(device, command=trainer_for(found), environ=os.environ)
    try:
        process.send(request(found, rehearse=True, sample=sample))
        answer = inspect_with(process, found.study.name)
        if answer is None:
            how = process.close()
            fact = f"the trainer on {device} ended ({how}) while it tried the study out"
            raise DeviceError(fact, evidence=["see its output above"], next=next_after(how))
        return answer
    finally:
        process.kill()


def _error(name: str, problem: Mapping[str, Any]) -> HpoError:
    kind = getattr(errors, problem["kind"], StudyError)
    error: HpoError = kind(f'study "{name}": {problem["fact"]}', evidence=problem["evidence"], next=problem["next"])
    return error
