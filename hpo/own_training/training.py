"""A user's own `train(run)`, called with a run; how it ends, as the coordinator is told."""

from __future__ import annotations

import math
import queue
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch

from hpo.messages import Finished, Job, Message
from hpo.own_messages import Answer, final_names
from hpo.own_metrics import checked_metrics
from hpo.own_training.link import Link, Paused
from hpo.own_training.run import BeginAgain, Run
from hpo.own_training.undisturbed import undisturbed
from hpo.training.checkpoint import Checkpoints
from hpo.training.device import peak_memory_bytes, reset_peak_memory
from hpo.training.outcomes import failure
from hpo.training.progress import StopRequest
from hpo.training.ranks import Ranks
from hpo.user_function import load_function

__all__ = ["call", "run_training"]


def run_training(
    job: Job,
    device: torch.device,
    send: Callable[[Message], None],
    stop: StopRequest,
    answers: queue.SimpleQueue[Answer],
    warn: Callable[[str], None],
    ranks: Ranks | None = None,
) -> Finished:
    """Call the job's function with a run that goes on where a checkpoint ended.

    ranks: the processes that train it together, of which this is one
    answers: where those to the run's questions come in; warn: told in one sentence of what costs no result
    """
    warnings: list[str] = []

    def say(sentence: str) -> None:
        if sentence not in warnings:  # a disk that refuses a checkpoint refuses the result's file too
            warnings.append(sentence)
            warn(sentence)

    checkpoints = Checkpoints(job, say)
    if (earlier := checkpoints.finished()) is not None:
        finished, told = earlier
        for message in told:
            send(message)
        return finished
    reset_peak_memory(device)
    started = perf_counter()
    link = _link(job, send, stop, answers, ranks)
    run = _run(job, link, device, say, ranks)
    try:
        ended = call(job, run, link)
    except BeginAgain as unfit:
        say(f"the checkpoint does not fit ({unfit}); training begins again")
        run = _run(job, link, device, say, ranks, fresh=True)
        ended = call(job, run, link)
    link.close()
    facts = {
        "train_seconds": run.seconds or perf_counter() - started,
        "resumed_epoch": run.resumed_epoch,
        "peak_memory_bytes": peak_memory_bytes(device),
        "warnings": warnings,
    }
    epochs = len(run.curve)
    ended = replace(ended, epoch=epochs, best_epoch=epochs, facts={**ended.facts, **facts})
    # Else the same job may end in another way, once the code is mended.
    if ended.outcome in ("complete", "diverged") and run.rank == 0:
        checkpoints.finish(ended, run.curve, run.logged)
    return ended


def _link(
    job: Job,
    send: Callable[[Message], None],
    stop: StopRequest,
    answers: queue.SimpleQueue[Answer],
    ranks: Ranks | None,
) -> Link:
    if ranks is None:
        return Link(job.trial_id, send, stop, answers)
    from hpo.own_training.shared_run import SharedLink

    return SharedLink(job.trial_id, send, stop, answers)


def _run(
    job: Job,
    link: Link,
    device: torch.device,
    say: Callable[[str], None],
    ranks: Ranks | None,
    *,
    fresh: bool = False,
) -> Run:
    if ranks is None:
        return Run(job, link, device, say, fresh=fresh)
    from hpo.own_training.shared_run import SharedRun

    return SharedRun(ranks, job, link, device, say, fresh=fresh)


def call(job: Job, run: Run, link: Link) -> Finished:
    """Call the function of the job's phase. BeginAgain passes; whatever else it raises is how its trial ends.

    What the run raised counts also where the function has swallowed it, and gone on.
    """
    assert job.own is not None
    reference = job.own.final if job.phase == "final" else job.own.function
    returned: Any = None
    with undisturbed(job.seed, [reference.rpartition(":")[0]]):
        try:
            returned = load_function(reference)(run)
            run.close()
            if link.paused:
                return Finished(job.trial_id, "stopped")
        except BaseException as error:  # noqa: BLE001 - whatever a user's function raises ends its trial, and nothing else
            if run.end is None:
                if isinstance(error, Paused) or link.stopping:
                    return Finished(job.trial_id, "stopped")
                ended = failure(job, error)
                error.__traceback__ = error.__context__ = error.__cause__ = None  # frames hold tensors
                return ended
        finally:
            run.leave()
    if run.end is None:
        return _complete(job, run, returned)
    if isinstance(run.end, BeginAgain):
        raise run.end
    if run.end.outcome == "complete":
        return replace(_complete(job, run, None), facts={"out_of_time": run.end.reason == "max_seconds"})
    return Finished(job.trial_id, run.end.outcome, reason=run.end.reason)


def _complete(job: Job, run: Run, returned: Any) -> Finished:
    """The end of a function that returned: its metrics are those it reported last, or returned."""
    assert job.own is not None
    metrics: dict[str, float] = {}
    for row in run.curve:
        metrics |= row["own"]
    wanted = job.own.metrics
    try:
        if isinstance(returned, Mapping):
            metrics |= checked_metrics(returned)
        elif returned is not None:
            metrics |= checked_metrics({wanted[0] if len(wanted) == 1 else "what it returned": returned})
    except (TypeError, ValueError) as error:
        return _failed(job, f"it returned something that is not a metric: {error}")
    for objective in wanted:
        names = final_names(objective) if job.phase == "final" else (objective,)
        name = next((one for one in names if one in metrics), None)
        if name is None:
            others = f"only {', '.join(metrics)}" if metrics else "nor anything else"
            return _failed(job, f"it never reported {' or '.join(dict.fromkeys(names))}, {others}")
        if not math.isfinite(metrics[name]):
            return Finished(job.trial_id, "diverged", reason=f"it returned {name} = {metrics[name]}")
    return Finished(job.trial_id, "complete", metrics=metrics)


def _failed(job: Job, reason: str) -> Finished:
    assert job.own is not None
    name = (job.own.final if job.phase == "final" else job.own.function).rpartition(":")[2]
    return Finished(job.trial_id, "failed", reason=f"{name}: {reason}")
