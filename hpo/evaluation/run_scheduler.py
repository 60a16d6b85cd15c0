"""Runs jobs on this host's slots: the same trainers as in a search, but without a database."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from hpo.errors import DataError
from hpo.evaluation.runs import EvaluationRun, RunResult, curve_row
from hpo.messages import Epoch, Finished, Ready
from hpo.own_messages import Answer, Question
from hpo.trainers.pool import TrainerPool
from hpo.trainers.process import TrainerProcess
from hpo.trainers.slot import Slot, SlotSpec
from hpo.trainers.trial import Trial

__all__ = ["RunScheduler"]

ATTEMPTS = 3
STOP_SECONDS = 3.0


class RunScheduler:
    """`with RunScheduler(specs, ...) as scheduler: scheduler.run(runs)`; trainers start with the first run.

    wakeup:    a non-blocking socket that a signal handler writes to after setting `interrupted`
    on_epoch:  called after each epoch of a run; on_result: called with the result of each run when it ends
    on_notice: called with a sentence about trouble
    """

    def __init__(
        self,
        specs: Sequence[SlotSpec],
        wakeup: socket.socket,
        *,
        on_epoch: Callable[[EvaluationRun, Epoch], None],
        on_result: Callable[[EvaluationRun, RunResult], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self.interrupted = False
        self._pool = TrainerPool([Slot(index, spec, _spawn) for index, spec in enumerate(specs)])
        self._wakeup = wakeup
        self._on_epoch, self._on_result, self._on_notice = on_epoch, on_result, on_notice
        self._queue: deque[tuple[int, EvaluationRun]] = deque()
        self._curves: dict[int, list[dict[str, object]]] = {}
        self._said: set[str] = set()
        self._runs: dict[int, tuple[int, EvaluationRun]] = {}
        self._started = False
        self._numbers = 0
        self._leaving = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every trainer write a checkpoint, so that its run resumes from there, and end it."""
        self._leaving = True
        self._pool.stop()
        limit = time.monotonic() + STOP_SECONDS
        while self._pool.busy and time.monotonic() < limit:
            self._listen(0.1)
        self._pool.kill()

    def run(self, runs: Sequence[EvaluationRun]) -> bool:
        """Train all `runs`, in this order. Returns False when a signal came first. Raises DataError, DeviceError."""
        self._queue.extend((1, run) for run in runs)
        if runs and not self._started:
            self._started = True
            self._pool.start()
        while (self._queue or self._pool.busy) and not self.interrupted:
            self._pool.restart_lost()
            self._pool.check()
            self._hand_out()
            self._listen(0.5)
        return not self.interrupted

    def _hand_out(self) -> None:
        for slot in self._pool.slots:
            if slot.free and self._queue:
                attempt, run = self._queue.popleft()
                # No number is used twice, so that a late message about an earlier attempt is not mistaken for this one.
                self._numbers += 1
                self._runs[self._numbers] = attempt, run
                self._curves[self._numbers] = []
                job = replace(run.job, trial_id=self._numbers, number=self._numbers)
                slot.give(Trial(self._numbers, self._numbers, attempt, {}, job.config, job.checkpoint), job)

    def _listen(self, seconds: float) -> None:
        for slot in self._pool.wait(self._wakeup, seconds):
            self._on_message(slot)

    def _on_message(self, slot: Slot) -> None:
        assert slot.process is not None
        message = slot.process.receive()
        if message is None:
            self._on_lost(slot)
        elif isinstance(message, Ready):
            slot.ready = message
        elif slot.trial is None or getattr(message, "trial_id", None) != slot.trial.trial_id:
            return
        elif isinstance(message, Epoch):
            self._curves[message.trial_id].append(curve_row(message))
            self._on_epoch(self._runs[message.trial_id][1], message)
        elif isinstance(message, Question):
            slot.send(Answer(message.trial_id, message.number, True))  # nothing is pruned here: go on
        elif isinstance(message, Finished):
            self._on_finished(slot, message)

    def _on_finished(self, slot: Slot, message: Finished) -> None:
        _, run = self._runs.pop(message.trial_id)
        curve = self._curves.pop(message.trial_id)
        slot.trial = slot.stopping = None
        slot.health.works()
        if message.outcome == "bad_data":
            if self._leaving:
                return
            raise DataError(message.reason, evidence=message.details)
        overlap = str(message.facts.get("test_overlap", ""))
        if overlap and overlap not in self._said:
            self._said.add(overlap)
            self._on_notice(overlap)
        if message.outcome != "stopped":
            device = slot.ready.device_name if slot.ready else ""
            self._on_result(run, RunResult(run.job.seed, f"{slot.spec.device} {device}".strip(), message, curve))

    def _on_lost(self, slot: Slot) -> None:
        trial = slot.trial
        how = slot.lost()
        slot.trial = None
        self._on_notice(f"trainer on {slot.spec.device} ended ({how})")
        if trial is None:
            return
        attempt, run = self._runs.pop(trial.trial_id)
        self._curves.pop(trial.trial_id)
        if attempt < ATTEMPTS:
            self._queue.appendleft((attempt + 1, run))
            return
        reason = f"the trainer ended {ATTEMPTS} times ({how})"
        self._on_result(
            run, RunResult(run.job.seed, slot.spec.device, Finished(trial.trial_id, "failed", reason=reason))
        )


def _spawn(spec: SlotSpec) -> TrainerProcess:
    return TrainerProcess(spec.device, arguments=spec.arguments, environ=os.environ)
