"""Can the user's function be had, and called? Asked of a trainer before the first trial. It is tried on request."""

from __future__ import annotations

import inspect
import queue
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch

from hpo.errors import HpoError, StudyError
from hpo.messages import Inspect, Inspected, Job
from hpo.own_messages import OwnTraining
from hpo.own_training.link import Link
from hpo.own_training.run import Run
from hpo.own_training.training import call
from hpo.training.device import peak_memory_bytes, release_memory, reset_peak_memory
from hpo.training.progress import StopRequest
from hpo.user_code import definition_of
from hpo.user_function import load_function
from hpo.wording import params_text

__all__ = ["inspect_function"]


def inspect_function(message: Inspect, device: torch.device) -> Inspected:
    """Import the function and hold it against its one argument. An objective is not called.

    Where the message asks for a rehearsal, a function that trains declared configurations is called with each of them,
    until its first report.
    """
    own = message.job.own
    assert own is not None
    try:
        for reference in filter(None, (own.function, own.final)):
            _check_argument(own, reference)
        tried = message.rehearse and not own.define_by_run
        return Inspected(rehearsals=[_tried(message.job, config, device) for config in message.configs if tried])
    except HpoError as error:
        problem = {"kind": type(error).__name__, "fact": error.fact, "evidence": list(error.evidence)}
        return Inspected(problem={**problem, "next": error.next})


def _check_argument(own: OwnTraining, reference: str) -> None:
    function, argument = load_function(reference), "trial" if own.define_by_run else "run"
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        name = reference.rpartition(":")[2]
        raise StudyError(
            f"{name} cannot be called with a {argument}: {error}",
            evidence=[definition_of(function)],
            next=f"let {name} take one argument, the {argument}; fix others by functools.partial",
        ) from error


def _tried(job: Job, config: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Call the function with `config` until it reports. StudyError for how it ended instead."""
    job = replace(job, config=config, checkpoint="")
    link = Link(job.trial_id, lambda message: None, StopRequest(), queue.SimpleQueue())
    run = Run(job, link, device, lambda sentence: None, rehearsal=True)
    reset_peak_memory(device)
    started = perf_counter()
    ended = call(job, run, link)
    release_memory(device)
    if ended.outcome not in ("complete", "out_of_memory"):
        raise StudyError(
            f"with {params_text(config)}: {ended.reason or ended.outcome}",
            evidence=[*([ended.where] if ended.where else []), *ended.details[-4:]],
            next="mend that, or narrow the row",
        )
    return {
        "config": config,
        "seconds": perf_counter() - started,
        "peak_memory_bytes": peak_memory_bytes(device),
        "out_of_memory": ended.outcome == "out_of_memory",
    }
