"""An Optuna objective, called as study.optimize calls it, and the message about how it ended."""

from __future__ import annotations

import math
import queue
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from hpo.messages import Finished, Job, Message
from hpo.own_messages import Answer
from hpo.own_training.link import Link, Paused
from hpo.own_training.remote_trial import RemoteTrial
from hpo.own_training.undisturbed import undisturbed
from hpo.training.outcomes import failure
from hpo.training.progress import StopRequest
from hpo.user_function import load_function

__all__ = ["run_objective"]


def run_objective(
    job: Job, send: Callable[[Message], None], stop: StopRequest, answers: queue.SimpleQueue[Answer]
) -> Finished:
    """Call the job's function with its trial. answers: the queue of answers to the trial's questions."""
    assert job.own is not None
    link = Link(job.trial_id, send, stop, answers)
    trial = RemoteTrial(job, link)
    started = perf_counter()
    with undisturbed(job.seed, [job.own.function.rpartition(":")[0]]):
        ended = _call(job, trial, link)
    link.close()
    trial.close()
    facts = {**ended.facts, "train_seconds": perf_counter() - started, "warnings": []}
    return replace(ended, epoch=len(link.reported), facts=facts)


def _call(job: Job, trial: RemoteTrial, link: Link) -> Finished:
    assert job.own is not None
    try:
        function = load_function(job.own.function)
        trial.pass_for_optunas()  # only now: the script imports Optuna
        returned = function(trial)
        # A function that swallowed its pause returns an unfinished value, which is not a result.
        return Finished(job.trial_id, "stopped") if link.paused else _returned(job, returned)
    except BaseException as error:  # noqa: BLE001 - whatever a user's function raises ends its trial, and nothing else
        if isinstance(error, Paused) or link.stopping:
            return Finished(job.trial_id, "stopped")
        if any(kind.__name__ == "TrialPruned" for kind in type(error).__mro__):
            return Finished(job.trial_id, "pruned")
        ended = failure(replace(job, config=trial.params), error)
        error.__traceback__ = error.__context__ = error.__cause__ = None  # frames hold the tensors that fill memory
        return ended


def _returned(job: Job, returned: Any) -> Finished:
    """What an objective returned, read as Optuna does: a number, or one for each direction."""
    assert job.own is not None
    several = isinstance(returned, Sequence) and not isinstance(returned, str)
    values = list(returned) if several else [returned]
    if len(values) != len(job.own.metrics):
        return _unusable(job, f"it returned {len(values)} values, and the study has {len(job.own.metrics)} directions")
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except (TypeError, ValueError):
            return _unusable(job, f"it returned {_shown(value)}, which is not a number")
    if any(map(math.isnan, numbers)):
        return Finished(job.trial_id, "diverged", reason=f"it returned {_shown(returned)}")
    return Finished(job.trial_id, "complete", metrics=dict(zip(job.own.metrics, numbers, strict=True)))


def _unusable(job: Job, reason: str) -> Finished:
    assert job.own is not None
    return Finished(job.trial_id, "failed", reason=f"{job.own.function.rpartition(':')[2]}: {reason}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
