"""What a run is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from hpo.duration import parse_duration
from hpo.trainers.foreground import ForegroundTrainer
from hpo.trainers.process import TRAINER
from hpo.trainers.snapshot import Snapshot

__all__ = ["RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """What `hpo run` and `hpo worker` are told; see their --help.

    devices_per_trial: None: the study's
    tensorboard: a folder for TensorBoard's event files
    tracker: "mlflow" or "wandb": hpo.search.trackers
    notify: an address that apprise knows, or several, for a message at the end
    on_trial_end, on_new_best, on_end: called besides the study's own: hpo.search.callbacks
    on_phase: called with what a run does before its first trial, in words, as it begins each part of it
    on_started: called once with a function that stops the run from any thread, as Ctrl-C would
    foreground: trains one trial in this process, in place of trainers; the study's budget stays as it is (--debug)
    trainer: the command that starts a trainer; tests of the coordinator give one that speaks hpo.messages without torch
    """

    timeout: str | float | None = None
    trials: int | None = None
    storage: str | None = None
    devices: str | None = None
    trainers: int | None = None
    trainers_per_gpu: int | Literal["auto"] = 1
    devices_per_trial: int | None = None
    enqueue_known: bool = False
    changed_code: bool = False
    retry_failed: bool = False
    evolve: bool = False
    worker: bool = False
    ray: str | None = None
    tensorboard: str | None = None
    tracker: str | None = None
    notify: str | Sequence[str] = ()
    on_trial_end: Callable[..., object] | None = None
    on_new_best: Callable[..., object] | None = None
    on_end: Callable[..., object] | None = None
    on_snapshot: Callable[[Snapshot], None] | None = None
    on_notice: Callable[[str], None] | None = None
    on_phase: Callable[[str], None] | None = None
    on_started: Callable[[Callable[[], None]], None] | None = None
    foreground: ForegroundTrainer | None = None
    trainer: Sequence[str] = TRAINER

    @property
    def timeout_seconds(self) -> float | None:
        """UsageError for a timeout that is no duration."""
        return None if self.timeout is None else parse_duration(self.timeout)
