"""The messages between a coordinator and its trainers: small frozen records, sent as JSON over a socket.

Both sides import it, so it imports neither torch nor optuna.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hpo.own_messages import Answer, Attribute, OwnCommand, OwnTraining, Question, Report, without_folders

__all__ = [
    "EPOCH_METRICS",
    "LOST_PEER",
    "EarlyStoppingRule",
    "Epoch",
    "Finished",
    "Inspect",
    "Inspected",
    "Job",
    "Protocol",
    "Ready",
    "Stop",
    "StopRule",
    "decode",
    "encode",
]


@dataclass(frozen=True)
class EarlyStoppingRule:
    """End training after `patience` epochs in which `monitor` did not gain `min_delta`, and keep the best weights."""

    monitor: str
    patience: int
    min_delta: float = 0.0


@dataclass(frozen=True)
class StopRule:
    """End training, as complete, once `epoch` epochs are done and `metric` is at least `at_least`."""

    epoch: int
    metric: str
    at_least: float


@dataclass(frozen=True)
class Protocol:
    """The rules for every trial of a study. Study.protocol writes it; None always means "no such rule".

    epochs:          the most that a trial trains; schedules are made for this many
    objectives:      metrics; the first is reported to the pruner. early_stopping, stop_when: end a trial sooner
    max_seconds:     of training and validation; then the trial ends with its best so far
    validation:      share of the train split that is held out; None: the data set's own
    split_seed:      the seed of subset, validation part and folds; folds: how many, of cross-validation
    seeds:           how often the trial trains, on the same split and with other random numbers
    subset:          the number of images of the train split that are used
    measure_latency: time the network on one image
    compare_with:    configuration of the baseline, whose network is measured beside the trial's own
    stop_after:      the epoch to stop after, while schedules keep the length they were tuned with (hpo evaluate)
    keep_weights:    keep best and last weights beside the checkpoint (hpo evaluate)
    """

    epochs: int
    objectives: tuple[str, ...]
    early_stopping: EarlyStoppingRule | None = None
    stop_when: StopRule | None = None
    max_seconds: float | None = None
    validation: float | None = None
    split_seed: int = 0
    folds: int | None = None
    seeds: int | None = None
    subset: int | None = None
    measure_latency: bool = False
    compare_with: dict[str, Any] | None = None
    stop_after: int | None = None
    keep_weights: bool = False

    @property
    def objective(self) -> str:
        return self.objectives[0]

    @property
    def last_epoch(self) -> int:
        return self.stop_after or self.epochs

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Protocol:
        """Read what `asdict` and JSON made. Studies recorded by earlier versions also have `objective`, `direction`."""
        known = {name: value for name, value in fields.items() if name not in ("objective", "direction")}
        known["objectives"] = tuple(known["objectives"])
        rules = {"early_stopping": EarlyStoppingRule, "stop_when": StopRule}
        known |= {name: rule(**known[name]) for name, rule in rules.items() if known.get(name) is not None}
        return cls(**known)


@dataclass(frozen=True)
class Job:
    """Coordinator to trainer: train one configuration.

    trial_id:    the trial's key in the database; every answer repeats it
    config:      the resolved configuration: model parameters and recipe settings, lists for one value per layer
    protocol:    when the trial ends, how its images are split and how it is scored
    model:       {"builder": "module:function", "reads": [names]}
    dataset:     {"name", "loader", "shape", "classes", "validation"}; of the user's own files also "options", which
                 decide what is loaded, "place", where this host has them, and "fit", how images come to their size
    seed:        the trial's seed, from (study seed, trial number)
    checkpoint:  folder of this trial's checkpoints; training resumes from what is there; "" keeps none
    phase:       "search" trains on the train part and scores the validation part; "final" trains on both and scores
                 the test split (hpo evaluate only)
    sys_path:    folders to add to sys.path, so that a study's own modules are found
    parts:       the study's own losses, optimizers, schedules and metrics, and its task: hpo.study.parts.Parts.as_job
    own, command: the user's own training, a function or a program; then the model and the data set are empty
    pause_after: the epoch after which the trial waits, with a checkpoint; if none can be written it goes on. 0: never
    kernels:     which ways train it, as a trial recorded them (hpo.training.kernels.choice); {}: the trainer's own
    """

    trial_id: int
    number: int
    config: dict[str, Any]
    protocol: Protocol
    model: dict[str, Any]
    dataset: dict[str, Any]
    seed: int
    checkpoint: str = ""
    phase: str = "search"
    sys_path: list[str] = field(default_factory=list)
    own: OwnTraining | None = None
    command: OwnCommand | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    pause_after: int = 0
    kernels: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """32 hexadecimal digits that change with anything that decides the job's result, and with nothing else."""
        dataset = {name: value for name, value in self.dataset.items() if name != "place"}
        what = [self.config, asdict(self.protocol), self.model, dataset, self.seed, self.phase]
        if self.parts:
            what.append(without_folders(self.parts))
        if self.own is not None:  # by the names that every host has: without the folder of a file
            what += [name.rpartition("/")[2] for name in (self.own.function, self.own.final)]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Job:
        """Read what `asdict` and JSON made. In studies recorded by earlier versions a protocol is called a plan."""
        rest = {name: value for name, value in fields.items() if name not in ("protocol", "plan", "own", "command")}
        own = OwnTraining.from_json(fields["own"]) if fields.get("own") else None
        command = OwnCommand.from_json(fields["command"]) if fields.get("command") else None
        protocol = Protocol.from_json(fields["protocol" if "protocol" in fields else "plan"])
        return cls(**rest, own=own, command=command, protocol=protocol)


@dataclass(frozen=True)
class Stop:
    """Coordinator to trainer: end the trial at the next step.

    keep: True writes a checkpoint so that the trial can resume later; False drops it (pruned, or no longer ours)
    """

    trial_id: int
    keep: bool


@dataclass(frozen=True)
class Inspect:
    """Coordinator to trainer, before any job: can all these configurations be built, and are the images there?

    job:      a job without configuration; configs: resolved ones, for each end of each branch of the study
    rehearse: also train a few steps of the cheapest and of the most expensive configuration
    sample:   where to draw what the first configuration will see (hpo.training.sample); "": nothing is drawn
    """

    job: Job
    configs: list[dict[str, Any]]
    rehearse: bool = False
    sample: str = ""


@dataclass(frozen=True)
class Inspected:
    """Trainer to coordinator: the result of an Inspect.

    problem:    {"kind": name of an HpoError, "fact", "evidence", "next"}; None if there is none
    costs:      for each configuration: parameters, macs, batch_size
    rehearsals: cheapest first: config, parameters, macs, train_images, step_seconds, epoch_seconds, peak_memory_bytes
    sample:     what a network will see, as hpo.training.sample gives it
    data:       "checksum" of the train split; rehearsed, "notes" and "classes": [trained on, validated on] of each
    """

    problem: dict[str, Any] | None = None
    costs: list[dict[str, Any]] = field(default_factory=list)
    rehearsals: list[dict[str, Any]] = field(default_factory=list)
    sample: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """Trainer to coordinator: started and able to train.

    versions: of python, torch and torchvision; device_name: the vendor's name
    kernels:  hpo.training.fast_paths.own_kernels, of a trainer on a CPU
    """

    pid: int
    device: str
    device_name: str
    versions: dict[str, str]
    kernels: dict[str, Any] = field(default_factory=dict)


EPOCH_METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
"""Those that have a column each in hpo_epochs; any other is kept by its name."""
LOST_PEER = "lost_peer"


@dataclass(frozen=True)
class Epoch:
    """Trainer to coordinator: an epoch has finished.

    epoch:   counted from 1 (with folds: counted through all folds)
    metrics: train_loss, train_accuracy, val_loss, val_accuracy, lr
    own:     every other metric: of the study's own, or that the user's own training reports, under any names
    seconds: the time of training in this epoch, without validation
    report:  (step, value) pairs for the pruner; one per epoch, with folds or seeds one per finished one of them
    replayed: the epoch was trained before a resume and is sent again, in case the first message got lost
    at:      when it ended, in seconds since 1970 by the trainer's clock
    """

    trial_id: int
    epoch: int
    metrics: dict[str, float]
    seconds: float
    report: list[tuple[int, float]] = field(default_factory=list)
    replayed: bool = False
    at: float = 0.0
    own: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """Trainer to coordinator: the trial has ended, or was stopped to be resumed later.

    outcome: complete       metrics hold the best epoch's values
             stopped        by a Stop, or after the job's `pause_after`
             pruned         the user's own function raised TrialPruned
             diverged       the loss is not finite; reason says in which epoch
             out_of_memory  reason has the shapes
             failed         a bug: reason is "Type: message", details has the last traceback lines, where is the
                            innermost line of the user's code, as "my_models.py:12"; "" where none is known
             bad_data       the data set's files are missing or altered
             LOST_PEER      only from a rank to hpo.gang_trainer: another rank is gone, or did not come
    epoch:   the last finished epoch; best_epoch the one whose weights were kept
    facts:   setup_seconds, train_seconds, eval_seconds, peak_memory_bytes, parameters, macs, initial_loss,
             data_checksum, val_images, resumed_epoch, kernels (as the job's), out_of_time (max_seconds ended it);
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


Message = Job | Stop | Inspect | Inspected | Ready | Epoch | Finished | Question | Answer | Report | Attribute


def encode(message: Message) -> bytes:
    """One message as UTF-8 JSON. NaN and infinities are kept."""
    return json.dumps([type(message).__name__, vars(message)], default=asdict).encode()


def decode(payload: bytes) -> Message:
    """The message that `encode` made. Raises ValueError for anything else."""
    try:
        name, fields = json.loads(payload)
        return _READERS[name](fields) if name in _READERS else _PLAIN[name](**fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a message of this version: {payload[:80]!r}") from error


_READERS: dict[str, Callable[[Mapping[str, Any]], Message]] = {
    "Job": Job.from_json,
    "Inspect": lambda fields: Inspect(**{**fields, "job": Job.from_json(fields["job"])}),
}
_KINDS = (Stop, Inspected, Ready, Epoch, Finished, Question, Answer, Report, Attribute)
_PLAIN: dict[str, Callable[..., Message]] = {kind.__name__: kind for kind in _KINDS}
