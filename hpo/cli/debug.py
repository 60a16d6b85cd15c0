"""`hpo run --debug`: one trial in this process and on this terminal, where breakpoint(), pdb and print work."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpo.cli.output import emit, notice
from hpo.errors import UsageError
from hpo.signals import signals_to_leave

if TYPE_CHECKING:
    from hpo.result import Result
    from hpo.study.discovery import FoundStudy
    from hpo.trainers.foreground import ForegroundTrainer

__all__ = ["debug"]

FAILED = 1


def debug(found: FoundStudy, **options: Any) -> int:
    """Train one trial of `found` in the main thread, and return the exit code: 1 where the trial failed.

    options: of hpo.api.run. The study's budget stays as it is.
    """
    from hpo.trainers.foreground import ForegroundTrainer

    if found.study.program is not None:
        raise UsageError(
            "--debug runs Python of yours in this process, and this study trains by a command",
            next="`hpo check` prints its line: run that by itself, under a debugger of its language",
        )
    foreground = ForegroundTrainer()
    coordinator = _Coordinator(found, foreground, options)
    with _interrupting() as received:
        try:
            coordinator.thread.start()
            left = _train(foreground, coordinator.leave)
        except KeyboardInterrupt:  # before the trial began, or after it had ended
            left = True
            coordinator.leave()
            foreground.hang_up()
        coordinator.thread.join()
    if coordinator.error is not None and not left:
        raise coordinator.error
    code = 128 + (received[0] if received else signal.SIGINT) if left else 0
    return code if coordinator.result is None else _ended(coordinator.result, foreground.number, code)


def _train(foreground: ForegroundTrainer, leave: Callable[[], None]) -> bool:
    """Whether the user left before the trial's end."""
    device = foreground.devices.get()
    if device is None:
        return False
    # By its name: nothing of the coordinator's loads torch, and this process is coordinator and trainer.
    trainer = importlib.import_module("hpo.trainer")
    return bool(trainer.train_here(foreground.theirs, device, leave))


class _Coordinator:
    """The search, in a thread of its own: its one slot is the main thread."""

    def __init__(self, found: FoundStudy, foreground: ForegroundTrainer, options: dict[str, Any]) -> None:
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(found, foreground, options), daemon=True)
        self._stop: Callable[[], None] | None = None
        self._left = False

    def leave(self) -> None:
        """Put the trial back into the queue and end."""
        self._left = True
        if self._stop is not None:
            self._stop()

    def _run(self, found: FoundStudy, foreground: ForegroundTrainer, options: dict[str, Any]) -> None:
        from hpo import api

        try:
            self.result = api.run(found, foreground=foreground, on_started=self._started, on_notice=notice, **options)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread, which is waiting
            self.error = error
        finally:
            foreground.devices.put(None)
            foreground.hang_up()

    def _started(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self._left:
            stop()


@contextmanager
def _interrupting() -> Iterator[list[int]]:
    """SIGTERM and SIGHUP end the trial as Ctrl-C does. Gives the signals that came."""
    received: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in signals_to_leave()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(result: Result, number: int | None, code: int) -> int:
    """Say how the trial ended. A failed one shows its traceback: that is what it was debugged for."""
    from optuna.trial import TrialState

    from hpo.cli.study_tables import failures_text
    from hpo.errors import StudyError

    if number is None and code:
        return code
    if number is None:
        why = {"deadline": "its time is up", "trials": "it has all the trials that it was given"}
        raise StudyError(
            f'study "{result.study}" has no trial left to debug: {why.get(result.stopped, "nothing is left to try")}',
            next="`hpo run` with a larger budget, or debug in a study beside it: --debug --name NAME",
        )
    trial = next(one for one in result.frozen if one.number == number)
    if not trial.state.is_finished():
        notice(f"trial {number} waits again, under the same parameters: the next `hpo run` trains it")
        return code
    if trial.state is TrialState.FAIL:
        emit(failures_text([trial]))
        return FAILED
    return 0
