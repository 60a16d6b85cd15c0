"""Who else hears of a run: callbacks, notifications, trackers. Each has a thread of its own: none holds up a device.

The loop puts what happened into a queue and goes on. The first error of a listener is shown, and none harms the run. A
slow listener falls behind, and the end of the run waits for it for a limited time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from hpo.result import Result

__all__ = ["Listener", "Listeners", "heard"]

MOST_BEHIND = 10_000
"""Events that may wait for a listener. Beyond that epochs are left out, which are many, but no end of a trial."""
INTERRUPTED_SECONDS = 2.0
"""How long a run that a signal ended waits for all of its listeners. The whole run has eight seconds to end."""


class Listener:
    """Hears of a run, in a thread of its own. Whatever a method raises costs that event alone.

    name:    in sentences for the user
    pause_seconds: after an error, for what may be down for a while; events of that time are left out
    patience_seconds: how long the end of a run waits for what it has not heard yet
    """

    name = ""
    pause_seconds = 0.0
    patience_seconds = 10.0

    def opened(self, study: str, uid: str) -> None:
        """The run begins. uid: of the study, as no other study of its name has it."""

    def step(self, number: int, params: Mapping[str, Any], step: int, metrics: Mapping[str, float]) -> None:
        """Trial `number` has reported."""

    def trial_ended(self, trial: FrozenTrial, trials: Callable[[], Sequence[FrozenTrial]], *, is_best: bool) -> None:
        """A trial has ended here. trials: all that are known by now, by number; shared, so not to be changed."""

    def ended(self, result: Result) -> None:
        """The run is over."""

    def failed(self, error: BaseException) -> None:
        """The run ended by an error."""

    def described(self, error: BaseException) -> str:
        """What the user is told of an exception. Without its text, which may hold an address with a password."""
        return f"{self.name} failed ({type(error).__name__}), and the run goes on without it"


@dataclass
class _Heard:
    what: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class _Courier:
    """One listener's queue and thread."""

    def __init__(self, listener: Listener, say: Callable[[str], None]) -> None:
        self.listener = listener
        self._say, self._said = say, False
        self._quiet_until = 0.0
        self._queue: queue.SimpleQueue[_Heard | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"listener {listener.name}", daemon=True)
        self._thread.start()

    def put(self, what: str, *arguments: Any, **options: Any) -> None:
        if what != "step" or self._queue.qsize() < MOST_BEHIND:
            self._queue.put(_Heard(what, arguments, options))

    def close(self) -> None:
        """Nothing more comes."""
        self._queue.put(None)

    def join(self, seconds: float, began: float) -> None:
        """Wait until everything is heard, but no longer than `seconds` after `began`, a moment of time.monotonic()."""
        self._thread.join(max(0.0, began + seconds - time.monotonic()))
        if self._thread.is_alive():
            self._say(f"{self.listener.name} was still busy after {seconds:.0f} s and was left")

    def _work(self) -> None:
        while (heard := self._queue.get()) is not None:
            if time.monotonic() < self._quiet_until:
                continue
            try:
                getattr(self.listener, heard.what)(*heard.arguments, **heard.options)
            except BaseException as error:  # noqa: BLE001 - a user's own code, or a service: neither may harm the run
                self._quiet_until = time.monotonic() + self.listener.pause_seconds
                if not self._said:
                    self._said = True
                    self._say(self.listener.described(error))


def heard(listeners: Listeners, run: Callable[[], Result]) -> Result:
    """What `run` returns or raises, once the listeners have been told of it."""
    try:
        result = run()
    except BaseException as error:
        listeners.tell("failed", error)
        listeners.close(interrupted=not isinstance(error, Exception))
        raise
    listeners.tell("ended", result)
    listeners.close(interrupted=result.exit_code != 0)
    return result


class Listeners:
    """All of a run's. Every method returns at once, but `close`."""

    def __init__(self, listeners: Sequence[Listener] = (), say: Callable[[str], None] = lambda _: None) -> None:
        self._couriers = [_Courier(listener, say) for listener in listeners]

    def tell(self, what: str, *arguments: Any, **options: Any) -> None:
        """what: the name of a method of Listener."""
        for courier in self._couriers:
            courier.put(what, *arguments, **options)

    def close(self, *, interrupted: bool) -> None:
        """Wait for those that are behind. Their times run side by side."""
        began = time.monotonic()
        for courier in self._couriers:
            courier.close()
        for courier in self._couriers:
            courier.join(INTERRUPTED_SECONDS if interrupted else courier.listener.patience_seconds, began)
        self._couriers = []
