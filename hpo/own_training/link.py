"""Between a user's function and the coordinator: questions, answers, and the request to stop."""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from hpo.messages import Message
from hpo.own_messages import Answer, Question
from hpo.training.progress import StopRequest

__all__ = ["Link", "Paused"]

LOOK_SECONDS = 0.2
"""How often a function that waits for an answer looks whether it is to stop."""


class Paused(BaseException):
    """Raised in a user's function when its trial is to end here: it goes on later, or belongs to another host by now.

    Not an Exception, so that `except Exception` lets it through.
    """


class Link:
    """One trial's way to the coordinator. Any thread of the trainer may use it; nothing that it forked may."""

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

    @property
    def stopping(self) -> bool:
        return self._stop.asked

    def tell(self, message: Message) -> None:
        """Send `message`. Raises Paused where the trial is to end."""
        self.check()
        self._send(message)

    def ask(self, about: str, **arguments: Any) -> Any:
        """The coordinator's answer. Raises Paused, or the exception that the answer names."""
        with self._asking:
            self.check()
            number = next(self._numbers)
            self._send(Question(self.trial_id, number, about, arguments))
            answer = self._wait(number)
        if answer.error is not None:
            name, said = answer.error
            raise {"TypeError": TypeError, "NotImplementedError": NotImplementedError}.get(name, ValueError)(said)
        return answer.value

    def check(self) -> None:
        """Raise what keeps a trial from being used now."""
        if os.getpid() != self._pid:
            raise RuntimeError("a trial belongs to the process that it was given to, and this is a fork of it")
        if self._closed:
            raise RuntimeError("this trial has ended: an objective may use its trial until it returns")
        if self._stop.asked:
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
