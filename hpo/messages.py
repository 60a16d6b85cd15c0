"""What a coordinator and its trainers say to each other: small frozen records, sent as JSON over a pipe.

Imported by both sides, so it knows neither torch nor optuna.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Epoch", "Finished", "Inspect", "Inspected", "Job", "Ready", "Shutdown", "Stop", "decode", "encode"]


@dataclass(frozen=True)
class Job:
    """Coordinator to trainer: train one configuration.

    trial_id:    the database's key of the trial; echoed in every answer
    config:      the resolved configuration: model parameters and recipe settings, lists where one value per layer
    plan:        the study's protocol (see hpo.study.study.Study.plan): epochs, early stopping, split, folds, limits
    model:       {"builder": "module:function", "reads": [names]}
    dataset:     {"name", "loader", "shape", "classes", "validation"}
    seed:        of this trial, from (study seed, trial number)
    checkpoint:  folder of this trial's checkpoints; training resumes from what is found there; "" keeps none
    phase:       "search" trains on the train part and scores the validation part; "final" trains on both and scores
                 the test split (hpo evaluate only). Its plan may say stop_after, the epoch to end at while schedules
                 keep the horizon they were tuned with, and keep_weights, to leave best and last beside the checkpoint
    sys_path:    folders to add to sys.path, so that a study's own modules are found
    """

    trial_id: int
    number: int
    config: dict[str, Any]
    plan: dict[str, Any]
    model: dict[str, Any]
    dataset: dict[str, Any]
    seed: int
    checkpoint: str = ""
    phase: str = "search"
    sys_path: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stop:
    """Coordinator to trainer: end the trial at the next step.

    keep: True writes a checkpoint so that the trial can go on later; False drops it (pruned, or no longer ours).
    """

    trial_id: int
    keep: bool


@dataclass(frozen=True)
class Inspect:
    """Coordinator to trainer, before any job: can every one of these configurations be built, and are its images there?

    job:      the fields of a Job without configuration
    configs:  resolved configurations, one for each end of each branch of the study
    rehearse: also train a few steps of the cheapest and of the dearest configuration
    """

    job: dict[str, Any]
    configs: list[dict[str, Any]]
    rehearse: bool = False


@dataclass(frozen=True)
class Inspected:
    """Trainer to coordinator: what an Inspect found.

    problem:    {"kind": name of an HpoError, "fact", "evidence", "next"}, or None when all is well
    costs:      for each configuration: parameters, macs, batch_size
    rehearsals: cheapest first: config, parameters, macs, train_images, step_seconds, epoch_seconds, peak_memory_bytes
    """

    problem: dict[str, Any] | None = None
    costs: list[dict[str, Any]] = field(default_factory=list)
    rehearsals: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Shutdown:
    """Coordinator to trainer: leave."""


@dataclass(frozen=True)
class Ready:
    """Trainer to coordinator: started and able to train.

    versions: of python, torch and torchvision; device_name as the vendor names it.
    """

    pid: int
    device: str
    device_name: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Epoch:
    """Trainer to coordinator: one epoch done.

    epoch:   counted from 1 (with folds: counted through all folds)
    metrics: train_loss, train_accuracy, val_loss, val_accuracy, lr
    seconds: of training in this epoch, validation not counted
    report:  (step, value) pairs for the pruner; one per epoch without folds, one per finished fold with folds
    replayed: the epoch was trained before a resume and is told again, in case the first telling never got through
    at:      when it ended, in seconds since 1970 by the trainer's clock
    """

    trial_id: int
    epoch: int
    metrics: dict[str, float]
    seconds: float
    report: list[tuple[int, float]] = field(default_factory=list)
    replayed: bool = False
    at: float = 0.0


@dataclass(frozen=True)
class Finished:
    """Trainer to coordinator: the trial has ended or was put down.

    outcome: complete       metrics hold the best epoch's values
             stopped        as asked by Stop
             diverged       the loss is not finite; reason says where
             out_of_memory  reason carries the shapes
             failed         a bug: reason is "Type: message", details the last traceback lines, where the innermost
                            line of the user's code, as "my_models.py:12"; "" where none is known
             bad_data       the data set's files are missing or altered
    epoch:   the last finished epoch; best_epoch the one whose weights were kept
    facts:   setup_seconds, train_seconds, eval_seconds, peak_memory_bytes, parameters, macs, initial_loss,
             data_checksum, resumed_epoch, out_of_time (max_seconds ended it);
             in phase "final" also what hpo.training.final.score_final gives
    """

    trial_id: int
    outcome: str
    epoch: int = 0
    best_epoch: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    details: list[str] = field(default_factory=list)
    where: str = ""


Message = Job | Stop | Inspect | Inspected | Shutdown | Ready | Epoch | Finished
_KINDS = (Job, Stop, Inspect, Inspected, Shutdown, Ready, Epoch, Finished)
_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in _KINDS}


def encode(message: Message) -> bytes:
    """One message as UTF-8 JSON. NaN and infinities pass."""
    return json.dumps([type(message).__name__, asdict(message)]).encode()


def decode(payload: bytes) -> Message:
    """The message that `encode` made; ValueError for anything else."""
    try:
        name, fields = json.loads(payload)
        message: Message = _TYPES[name](**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a message of this version: {payload[:80]!r}") from error
    return message
