"""What an exception during training means for the trial."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from hpo.errors import DataError, HpoError
from hpo.messages import LOST_PEER, Finished, Job
from hpo.training.cuda_errors import is_of_device, memory_error
from hpo.training.ranks import is_of_peers
from hpo.user_code import frame_of, named_error

__all__ = ["BROKEN_DEVICE", "failure"]

BROKEN_DEVICE = "broken_device"
DETAILS = 20
"""The number of traceback lines that are recorded with a failed trial."""


def failure(job: Job, error: BaseException) -> Finished:
    """The message about a job that `error` ended: out_of_memory, bad_data or failed.

    Or no result: broken_device, where the trainer leaves instead of sending it; LOST_PEER, of one rank among several.
    """
    if (memory := memory_error(error)) is not None:
        return Finished(job.trial_id, "out_of_memory", reason=_out_of_memory(job, memory), facts={"warnings": []})
    if is_of_peers(error):
        return Finished(job.trial_id, LOST_PEER, reason=str(error).strip().splitlines()[0])
    if is_of_device(error):
        return Finished(job.trial_id, BROKEN_DEVICE, reason=str(error).splitlines()[0])
    if isinstance(error, DataError):
        return Finished(job.trial_id, "bad_data", reason=error.fact, details=str(error).splitlines()[1:])
    if isinstance(error, HpoError):
        name = type(error).__name__
        return Finished(job.trial_id, "failed", reason=f"{name}: {error.fact}", details=str(error).splitlines()[1:])
    lines = "".join(traceback.format_exception(error)).splitlines()
    where = ""
    if (frame := frame_of(error, or_ours=True)) is not None:
        where = f"{frame.filename.removeprefix(str(Path.cwd()) + os.sep)}:{frame.lineno}"
        lines = _with(traceback.format_list([frame])[0].splitlines(), lines)
    return Finished(job.trial_id, "failed", reason=named_error(error), details=lines[-DETAILS:], where=where)


def _with(own: list[str], lines: list[str]) -> list[str]:
    """The last of `lines`, with `own` among them however many of a library's frames come after it."""
    if own[0] in lines[-DETAILS:]:
        return lines
    return [*own, "  ...", *lines[-max(1, DETAILS - len(own) - 1) :]]


def _out_of_memory(job: Job, error: BaseException) -> str:
    """What was tried, and the first line of the allocator's message."""
    said = str(error).strip().splitlines() or ["out of memory"]
    if job.own is not None:
        parameters = ", ".join(f"{name}={value}" for name, value in job.config.items())
        return f"{job.own.function.rpartition(':')[2]}({parameters}); {said[0]}"
    shape = job.dataset.get("shape", ())
    size = job.config.get("batch_size")
    read = {name: job.config[name] for name in job.model.get("reads", ()) if name in job.config}
    parameters = ", ".join(f"{name}={value}" for name, value in read.items())
    batch = {name: [size, *one] for name, one in shape.items()} if isinstance(shape, dict) else [size, *shape]
    return f"batch {batch}; {job.model.get('builder')}({parameters}); {said[0]}"
