"""Train one configuration: the loop, and its possible endings."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hpo.messages import Epoch, Finished, Job
from hpo.training.progress import StopRequest
from hpo.training.ranks import Ranks
from hpo.training.shared_trial import SharedTrialRun
from hpo.training.train_val_split import DataCache
from hpo.training.trial_run import TrialRun

__all__ = ["fit", "train"]


def fit(
    job: Job,
    data: DataCache,
    device: torch.device,
    on_epoch: Callable[[Epoch], None],
    stop: StopRequest,
    on_warning: Callable[[str], None] = lambda sentence: None,
    record: bool = True,
    ranks: Ranks | None = None,
) -> Finished:
    """Train `job` from where its checkpoint left it, and say how it ended: complete, stopped or diverged.

    on_epoch:   called after each epoch, and again at once for every epoch of an earlier attempt that is resumed
    stop:       read before each step and between validation batches
    on_warning: called with one sentence about trouble that costs no result, such as a full disk; facts["warnings"]
                has it too
    record:     whether its steps may be recorded; then CaptureFailed where one cannot (hpo.training.graphs)
    ranks:      the processes that train it together, of which this is one; then nothing is recorded

    Everything else is an exception: DataError, StudyError, out of memory, a bug in the model.
    """
    if ranks is None:
        trial = TrialRun(job, data, device, on_epoch, stop, on_warning, record)
    else:
        trial = SharedTrialRun(job, data, device, on_epoch, stop, on_warning, ranks)
    earlier = trial.checkpoints.finished()
    if earlier is not None:
        finished, told = earlier
        for message in told:
            if isinstance(message, Epoch):
                on_epoch(message)
        return finished
    trial.begin()
    outcome, reason = train(trial)
    finished = trial.finished(outcome, reason)
    if outcome != "stopped":
        trial.keep_end(finished)
    return finished


def train(trial: TrialRun) -> tuple[str, str]:
    """Train fold after fold, epoch after epoch; (outcome, reason) of the trial."""
    trial.start_clock()
    while not trial.over:
        while not trial.fold_over:
            metrics = trial.score_epoch() if trial.train_epoch() else None
            if metrics is None:
                trial.pause()
                return "stopped", ""
            reason = trial.diverged(metrics)
            if reason is not None:
                return "diverged", reason
            trial.end_epoch(metrics)
            if trial.pause_is_due and trial.save():
                return "stopped", ""
        trial.end_fold()
    trial.close()
    return "complete", ""
