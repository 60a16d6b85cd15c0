"""A running job, in the parts that the loop in hpo.training.fit calls in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter, time
from typing import Any

import torch

from hpo.messages import EPOCH_METRICS, Epoch, Finished, Job
from hpo.models.build import count_macs, count_parameters
from hpo.models.inputs import shape_of
from hpo.training.augmenting import laid_out
from hpo.training.checkpoint import Checkpoints, TrainingSnapshot
from hpo.training.configuration import Recipe, of_its_length
from hpo.training.device import peak_memory_bytes, reset_peak_memory, set_deterministic, supports_bf16
from hpo.training.fast_paths import UNMEASURED, resolved
from hpo.training.final import export, keep_last_and_best, score_final
from hpo.training.network_metrics import network_metrics
from hpo.training.progress import StopRequest, TrainingProgress, divergence
from hpo.training.train_state import TrainState
from hpo.training.train_val_split import DataCache, TrainValSplit

__all__ = ["TrialRun"]


class TrialRun:
    """A running job: what it has learned so far, and the parts that hpo.training.fit calls in order."""

    progress: TrainingProgress
    state: TrainState

    def __init__(
        self,
        job: Job,
        data: DataCache,
        device: torch.device,
        on_epoch: Callable[[Epoch], None],
        stop: StopRequest,
        on_warning: Callable[[str], None],
        record: bool = True,
    ) -> None:
        job = of_its_length(job)
        self.job, self.protocol, self.data, self.device = job, job.protocol, data, device
        self.checkpoints = Checkpoints(job, self._warn)
        self.recipe = Recipe.read(job.config, job.parts)
        self._on_epoch, self._on_warning, self._stop = on_epoch, on_warning, stop
        self._record, self._final, self._out_of_time = record, job.phase == "final", False
        self._folds: int = 1 if self._final else job.protocol.folds or job.protocol.seeds or 1
        self._epochs: int = job.protocol.stop_after or job.protocol.epochs
        self._classes = len(job.dataset["classes"])
        self._metrics: dict[str, float] = {}
        self._facts: dict[str, Any] = {"warnings": []}

    def begin(self) -> None:
        """Load the data, build the model, and resume from a checkpoint if there is one."""
        start = perf_counter()
        reset_peak_memory(self.device)
        set_deterministic(self.recipe.deterministic)
        parts = self.data.parts(self.job)
        snapshot = self._snapshot(parts.checksum)
        self.progress = TrainingProgress(**snapshot.progress["trial"]) if snapshot else TrainingProgress(parts.checksum)
        begun_with = snapshot.progress.get("kernels", UNMEASURED) if snapshot else self.job.kernels
        self.job = replace(self.job, kernels=resolved(begun_with, self.device))
        self._open_fold()
        self._count()
        if snapshot is not None and not self.state.load(snapshot):
            self._warn(
                f"the last checkpoint is of another kind of device; on {self.device} it draws other random numbers"
            )
        resumed = len(self.progress.curve) if snapshot else None
        self._facts |= {"resumed_epoch": resumed, "data_checksum": parts.checksum, "kernels": self.job.kernels}
        if not self._final:
            self._facts["val_images"] = len(parts.validation) * self._folds  # several seeds judge each image again
        self._facts["setup_seconds"] = perf_counter() - start
        for epoch in self.progress.reported(self.job.trial_id):
            self._on_epoch(epoch)

    def start_clock(self) -> None:
        """Count `max_seconds` from now on, less the time of earlier attempts."""
        limit = math.inf if self._final else self.protocol.max_seconds or math.inf
        self._deadline = perf_counter() + limit - self.progress.train_seconds - self.progress.eval_seconds

    def finished(self, outcome: str, reason: str = "") -> Finished:
        """The message that ends the trial. If the trial is not complete, it has the best metrics so far, if any."""
        progress = self.progress
        best = dict(progress.mean() or progress.best)
        best_epoch = round(best.pop("epoch", 0))
        self._note_initial_loss()
        facts = {
            **self._facts,
            "train_seconds": progress.train_seconds,
            "eval_seconds": progress.eval_seconds,
            "peak_memory_bytes": peak_memory_bytes(self.device),
            "initial_loss": progress.initial_loss,
            "out_of_time": self._out_of_time,
        }
        if self.state.losses.knows_guess:
            facts["expected_initial_loss"] = math.log(self._classes)
        if self._folds > 1:
            facts["seeds" if self.protocol.seeds else "folds"] = progress.results
        return Finished(
            self.job.trial_id, outcome, len(progress.curve), best_epoch, best | self._metrics, facts, reason
        )

    def diverged(self, metrics: Mapping[str, float]) -> str | None:
        """Why it is no use to continue after an epoch with these metrics, in words."""
        state, guess = self.state, math.log(max(self._classes, 2))
        reason = divergence(metrics, guess if state.losses.knows_guess else None)
        for name, value in metrics.items():
            if math.isfinite(value) or reason:
                continue
            if name in state.stopping.goes_by or name == self.recipe.schedule_metric:
                reason = f"{name} is {value}"
            else:
                self._warn_once(f"{name} is {value} in some epochs")
        return f"{reason} in epoch {len(self.progress.curve) + 1}" if reason else None

    def _snapshot(self, checksum: str) -> TrainingSnapshot | None:
        snapshot = self.checkpoints.load()
        if snapshot is not None and snapshot.progress["trial"]["data_checksum"] != checksum:
            self._warn("the data set has changed since the last checkpoint; training starts again")
            return None
        return snapshot

    def _open_fold(self) -> None:
        parts = self.data.parts(self.job, self.progress.fold if self.protocol.folds else 0)
        self.state = self._train_state(parts)
        self._judge_batch = laid_out(parts.images, self.recipe)

    def _train_state(self, parts: TrainValSplit) -> TrainState:
        return TrainState(self.job, self.recipe, parts, self.device, self.progress.fold, record=self._record)

    def _count(self) -> None:
        """Size and cost of the model. Call it before a snapshot is loaded: counting may draw random numbers."""
        macs = count_macs(self.state.model, shape_of(self.job.dataset), self.job.dataset.get("dtype", "float32"))
        self._metrics |= {"parameters": count_parameters(self.state.model), "macs": macs}
        self._facts |= self._metrics
        if self.recipe.precision == "bf16" and not supports_bf16(self.device):
            self._facts["precision"] = "float32"

    @property
    def over(self) -> bool:
        """Whether every fold is done, or the time is up."""
        return self._out_of_time or self.progress.fold >= self._folds

    @property
    def fold_over(self) -> bool:
        over = self.state.stopping.over and not self._final
        return over or self._out_of_time or self.progress.epoch >= self._epochs

    @property
    def pause_is_due(self) -> bool:
        """Whether the trial is to wait now, and has something left to train."""
        return 0 < self.job.pause_after <= len(self.progress.curve) and not self.fold_over

    def train_epoch(self) -> bool:
        """Train the rest of the epoch's steps; False when Stop came in between."""
        state, progress = self.state, self.progress
        batches = state.batches(progress.epoch)
        state.begin_epoch(progress.epoch, batches[progress.step :])
        start = perf_counter()
        for number in range(progress.step, len(batches)):
            if self._ends_before(number):
                break
            state.set_lr(progress.epoch * len(batches) + number)
            state.step(batches[number])
            progress.step = number + 1
        state.step.running.read()  # waits for the device
        seconds = perf_counter() - start
        progress.epoch_seconds += seconds
        progress.train_seconds += seconds
        return not self._stop.asked

    def _ends_before(self, step: int) -> bool:
        """Whether this epoch trains no further, because of a stop or of `max_seconds`."""
        if self._stop.asked:
            return True
        self._out_of_time = step > 0 and perf_counter() >= self._deadline
        return self._out_of_time

    def score_epoch(self) -> dict[str, float] | None:
        """Score the epoch: its metrics; None when Stop came during validation."""
        train_loss, train_accuracy = self.state.step.running.read()
        metrics = {"train_loss": train_loss, "lr": self._last_lr()}
        if self.state.count is not None:
            metrics["train_accuracy"] = train_accuracy
        if self._final:
            return metrics
        start = perf_counter()
        scored = self._scored()
        self.progress.eval_seconds += perf_counter() - start
        if scored is None:
            return None
        return metrics | scored

    def _scored(self) -> dict[str, float] | None:
        return self.state.score(self._judge_batch, lambda: self._stop.asked)

    def _last_lr(self) -> float:
        return self.state.schedule.lr(self.progress.epoch * self.state.steps_per_epoch + self.progress.step - 1)

    def end_epoch(self, metrics: dict[str, float]) -> None:
        """Take in a scored epoch, report it, and write a checkpoint if one is due."""
        state, progress = self.state, self.progress
        self._out_of_time |= perf_counter() >= self._deadline
        if self._final:
            progress.best = {**metrics, "epoch": progress.epoch + 1}
        elif state.stopping.update(progress.epoch + 1, metrics):
            progress.best = {**metrics, "epoch": progress.epoch + 1}
            if state.stopping.keeps_weights:
                state.keep_weights()
        state.schedule.epoch_done(metrics)
        self._note_initial_loss()
        seconds = progress.end_epoch()
        state.step.running.reset()
        number = len(progress.curve) + 1
        known = {name: metrics[name] for name in EPOCH_METRICS if name in metrics}
        own = {name: value for name, value in metrics.items() if name not in known}
        epoch = Epoch(self.job.trial_id, number, known, seconds, self._reports(metrics), at=time(), own=own)
        progress.report(epoch)
        self._on_epoch(epoch)
        if self._checkpoint_is_due() and not self.pause_is_due:
            self.save()

    def _checkpoint_is_due(self) -> bool:
        return self.checkpoints.due(self.state.size_bytes())

    def _reports(self, metrics: Mapping[str, float]) -> list[tuple[int, float]]:
        """For the pruner: the epoch's objective, or after the last epoch of a fold, or of a seed, the mean so far."""
        objective = self.protocol.objective
        if self._folds == 1:
            return [(self.progress.epoch, metrics[objective])] if objective in metrics else []
        if not self.fold_over:
            return []
        done = [result[objective] for result in (*self.progress.results, self.progress.best)]
        return [(len(done), sum(done) / len(done))]

    def end_fold(self) -> None:
        """Restore the best weights and, if there is another fold, begin it."""
        if self.protocol.keep_weights:
            keep_last_and_best(self.job, self.state, self._warn)
        self.state.restore_best()
        self.progress.end_fold()
        if not self.over:
            self._open_fold()

    def close(self) -> None:
        """Metrics of the trained model: its latency in a search that asks for it; in phase "final" the test split's."""
        if self._final:
            start = perf_counter()
            self.state.adopt_average()
            if sentence := self.data.overlap(self.job):
                self._facts["warnings"].append(sentence)  # which the coordinator says, once for all runs
                self._facts["test_overlap"] = sentence
            metrics, facts = score_final(self.job, self.recipe, self.state.model, self.data, self.device)
            self._metrics |= metrics
            self._facts |= facts
            self.progress.eval_seconds += perf_counter() - start
            export(self.job, self.state.model, self.state.parts.images, self._metrics, self._warn)
        else:
            image, _ = self._judge_batch(self.state.parts.validation[:1])
            self._metrics |= network_metrics(self.job, self.recipe, self.state.model, image, self.device)

    def _note_initial_loss(self) -> None:
        """Warn once, after the first steps, if the loss is far from ln(classes), that of a guess."""
        first = self.state.step.first_loss
        if self.progress.initial_loss is not None or first is None:
            return
        loss, expected = float(first), math.log(self._classes)
        self.progress.initial_loss = loss
        if self.state.losses.knows_guess and not 0.5 * expected < loss < 2.0 * expected:
            self._warn(f"the first batch has a loss of {loss:.3g}, where guessing among the classes has {expected:.3g}")

    def pause(self) -> None:
        """Save the trial's state if it will resume later."""
        self._note_initial_loss()
        if self._stop.keep:
            self.save()

    def save(self) -> bool:
        """Write a checkpoint; false where none is kept or the disk refuses."""
        state = self.state.snapshot()
        progress = {**state.progress, "trial": self.progress.as_json()}
        return self.checkpoints.save(TrainingSnapshot(progress, state.tensors))

    def keep_end(self, finished: Finished) -> None:
        """Have the same job answered at once from now on."""
        self.checkpoints.finish(finished, self.progress.curve)

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._facts["warnings"]:
            self._warn(sentence)

    def _warn(self, sentence: str) -> None:
        self._facts["warnings"].append(sentence)
        self._on_warning(sentence)
