"""Whether the parts of the user's own work: each is called with made-up outputs before a trial is spent on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import Tensor

from hpo.data.streamed_set import StreamedSet
from hpo.errors import HpoError
from hpo.messages import Job
from hpo.training.built_in_metrics import NoValue
from hpo.training.configuration import Recipe
from hpo.training.losses import losses
from hpo.training.metrics import MetricSet
from hpo.training.optimizers import build_optimizer
from hpo.training.own_parts import OwnPart, own_part
from hpo.training.own_task import check_predict
from hpo.training.schedules import LearningRate, TrainLength
from hpo.training.train_state import build_network
from hpo.training.train_val_split import TrainValSplit
from hpo.user_code import line_of, named_error

__all__ = ["check_parts"]

MOST, LOADED_AT_MOST = 512, 32
"""So many targets of the validation part are tried, with random outputs; the second of those that must be loaded."""


def check_parts(job: Job, data: TrainValSplit, outputs_for: Callable[[Tensor], Tensor], device: torch.device) -> None:
    """Raise StudyError, with the line of the user's file, for a part of the job's that cannot be used.

    outputs_for: random outputs of a model, float and with a gradient, for targets [N, ...]
    """
    recipe = Recipe.read(job.config, job.parts)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        tried = data.some_validation(LOADED_AT_MOST if isinstance(data.images, StreamedSet) else MOST)
        targets = data.some_targets(tried)
        outputs = outputs_for(targets)
        loss = own_part(job, "loss")
        if loss is not None:
            _check_loss(loss, losses(job, recipe, device).train, outputs, targets)
        _check_metrics(job, outputs.detach(), targets, device, whole=len(tried) == len(data.validation))
        check_predict(job, outputs.detach().cpu())
        optimizer = own_part(job, "optimizer")
        if optimizer is not None:
            with _told(optimizer):
                _check_optimizer(build_network(job, recipe, device), recipe, device, optimizer)
        schedule = own_part(job, "schedule")
        if schedule is not None:
            schedule.check_takes("step", "steps", "steps_per_epoch")
            steps = max(1, len(data.train) // recipe.batch_size)
            length = TrainLength(steps, job.protocol.epochs)
            with _told(schedule):
                for step in (0, length.steps // 2, length.steps - 1):
                    LearningRate(recipe, length, schedule).lr(step)


def _check_loss(part: OwnPart, function: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> None:
    with _told(part):
        value = function(outputs, targets)
        if not value.requires_grad:
            raise part.error("has no gradient with respect to the outputs", next="compute it from them by torch alone")
        value.backward()
    if not torch.isfinite(value):
        raise part.error(f"is {value.item()} for random outputs", next="return a finite number for any outputs")


def _check_metrics(job: Job, outputs: Tensor, targets: Tensor, device: torch.device, *, whole: bool) -> None:
    """whole: whether a trial is scored on these targets and no others; some may all be of one class"""
    for part in MetricSet(job, device).parts:
        with _told(part), torch.inference_mode():
            metrics = MetricSet(job, device, only=part.name)
            for rows in (slice(None, len(targets) // 2), slice(len(targets) // 2, None)):
                metrics.add(outputs[rows], targets[rows])
            with nullcontext() if whole else suppress(NoValue):
                metrics.compute()


def _check_optimizer(network: torch.nn.Module, recipe: Recipe, device: torch.device, part: OwnPart) -> None:
    optimizer = build_optimizer(network, recipe, device, part)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


@contextmanager
def _told(part: OwnPart) -> Iterator[None]:
    """Whatever the user's code raises, as a StudyError that names the part and the line."""
    try:
        yield
    except HpoError:
        raise
    except Exception as error:
        fact = f"does not work: {named_error(error)}"
        raise part.error(fact, line_of(error), next="fix that line, then run `hpo check` again") from error
