"""The link between a user's function and the coordinator: questions, answers, and the request to stop."""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hpo.messages import Message
from hpo.own_messages import FORKED, Answer, Question, Report
from hpo.own_metrics import checked_metrics
from hpo.training.progress import StopRequest

__all__ = ["LONGEST_PAUSE", "Ended", "Link", "Paused"]

LONGEST_PAUSE = 1.5
"""Seconds that a loader goes on after a pause was asked for, in case the epoch ends within them."""
LOOK_SECONDS = 0.2
"""How often a function that waits for an answer checks whether it must stop."""


class Paused(BaseException):
    """Raised in a user's function when its trial must end here: it resumes later, or now belongs to another host.

    Not an Exception, so that `except Exception` lets it through.
    """


class Ended(BaseException):
    """Raised in a user's function when its trial ends here for good. Not an Exception, so that `except Exception` lets
    it through. outcome: "complete" (its time is up, or it was only rehearsed) or "diverged"; reason: in words."""

    def __init__(self, outcome: str, reason: str = "") -> None:
        super().__init__(outcome, reason)
        self.outcome, self.reason = outcome, reason


class Link:
    """One trial's connection to the coordinator. Any thread of the trainer may use it, but no forked process."""

    def __init__(
        self, trial_id: int, send: Callable[[Message], None], stop: StopRequest, answers: queue.SimpleQueue[Answer]
    ) -> None:
        self.trial_id = trial_id
        self._send, self._stop, self._answers = send, stop, answers
        self._numbers = itertools.count()
        self._asking = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        self.paused = False  # whether a Paused was raised, which the function may have swallowed
        self.reported: dict[int, dict[str, float]] = {}  # by step
        self._since = time.perf_counter()

    @property
    def stopping(self) -> bool:
        return self._stop.asked

    @property
    def keep(self) -> bool:
        """Of a trial that is to stop: whether it goes on later."""
        return self._stop.keep

    def send(self, message: Message) -> None:
        """Send `message`, also of a trial that is to stop."""
        self.check_usable()
        self._send(message)

    def tell(self, message: Message) -> None:
        """Send `message`. Raises Paused if the trial must end."""
        self.check()
        self.send(message)

    def report(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Tell what the function measured at `step`, 0 <= step < 2**31. Raises Paused where the trial is to end.

        A second report of a step adds names that it did not have; those it has keep their values, with a warning, as
        in Optuna. ValueError or TypeError for what cannot be kept (hpo.own_metrics); nothing is told then.
        """
        self.check()
        if not 0 <= step < 2**31:
            raise ValueError(f"`{step=}` must be non-negative, and below 2**31, which a database can hold.")
        before, given = self.reported.get(step, {}), checked_metrics(metrics)
        again = [name for name in given if name in before]
        if again:
            said = f"what is reported of {', '.join(again)} is ignored because this `{step=}` is already reported."
            warnings.warn(said, UserWarning, stacklevel=3)
        if given.keys() <= before.keys():
            return
        merged = checked_metrics({**given, **before})
        now = time.perf_counter()
        self.tell(Report(self.trial_id, step, merged, now - self._since))
        self.reported[step], self._since = merged, now

    def ask(self, about: str, **arguments: Any) -> Any:
        """The coordinator's answer. Raises Paused, or the exception that the answer names."""
        with self._asking:
            self.check()
            number = next(self._numbers)
            self.send(Question(self.trial_id, number, about, arguments))
            answer = self._wait(number)
        if answer.error is not None:
            name, said = answer.error
            raise {"TypeError": TypeError, "NotImplementedError": NotImplementedError}.get(name, ValueError)(said)
        return answer.value

    def check(self) -> None:
        """Raise if the trial cannot be used now."""
        self.check_usable()
        if self._stop.asked:
            self.pause()

    def check_usable(self) -> None:
        """RuntimeError in a fork of the trial's process, and once the trial has ended."""
        if os.getpid() != self._pid:
            raise RuntimeError(FORKED)
        if self._closed:
            raise RuntimeError("this trial has ended: a function may use its trial until it returns")

    def pause(self) -> NoReturn:
        """End the trial here; it resumes later."""
        self.paused = True
        raise Paused

    def close(self) -> None:
        self._closed = True

    def _wait(self, number: int) -> Answer:
        while True:
            try:
                answer = self._answers.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self.check()
                continue
            if answer.number == number:  # else to a question that a pause had interrupted
                return answer
