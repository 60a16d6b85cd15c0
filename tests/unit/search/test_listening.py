"""Listeners: each in a thread of its own, heard in order, harmless whatever they do."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hpo.errors import DeviceError
from hpo.result import Result
from hpo.search import listening
from hpo.search.listening import Listener, Listeners, heard

RESULT = Result("s", "trials", None, {}, ())


class Recorder(Listener):
    name = "recorder"
    patience_seconds = 0.2

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.broken = False

    def step(self, number: int, params: Any, step: int, metrics: Any) -> None:
        self.go_on.wait(20)
        if self.broken:
            raise SystemExit("postgresql://me:pw@host")
        self.heard.append(step)

    def ended(self, result: Result) -> None:
        self.heard.append(result.stopped)

    def failed(self, error: BaseException) -> None:
        self.heard.append(error)


def test_everything_is_heard_in_its_order_before_the_run_ends() -> None:
    recorder, said = Recorder(), list[str]()
    listeners = Listeners([recorder], said.append)
    for step in range(100):
        listeners.tell("step", 0, {}, step, {})
    assert heard(listeners, lambda: RESULT) is RESULT
    assert recorder.heard == [*range(100), "trials"]
    assert said == []


def test_one_that_raises_is_said_once_without_its_words_and_hears_the_rest() -> None:
    recorder, other, said = Recorder(), Recorder(), list[str]()
    recorder.broken = True
    listeners = Listeners([recorder, other], said.append)
    for step in range(3):
        listeners.tell("step", 0, {}, step, {})
    heard(listeners, lambda: RESULT)
    assert said == ["recorder failed (SystemExit), and the run goes on without it"]
    assert (recorder.heard, other.heard) == (["trials"], [0, 1, 2, "trials"])


def test_one_that_hangs_holds_up_neither_the_run_nor_the_others_and_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_BEHIND", 5)
    recorder, other, said = Recorder(), Recorder(), list[str]()
    recorder.go_on.clear()
    listeners = Listeners([recorder, other], said.append)
    for step in range(1000):
        listeners.tell("step", 0, {}, step, {})
    heard(listeners, lambda: RESULT)
    assert said == ["recorder was still busy after 0 s and was left"]
    assert other.heard[-1] == "trials"
    recorder.go_on.set()
    assert len(recorder.heard) < 10


def test_a_run_that_ends_by_an_error_is_told_too() -> None:
    recorder, error = Recorder(), DeviceError("no device")

    def run() -> Result:
        raise error

    with pytest.raises(DeviceError):
        heard(Listeners([recorder]), run)
    assert recorder.heard == [error]
