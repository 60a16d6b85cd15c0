"""Listeners: each in a thread of its own, heard in order, harmless whatever they do."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Container
from types import SimpleNamespace
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
        self.broken: Container[int] = ()
        self.over = threading.Event()

    def step(self, number: int, params: Any, step: int, metrics: Any) -> None:
        self.go_on.wait(20)
        if step in self.broken:
            raise SystemExit("postgresql://me:pw@host")
        self.heard.append(step)

    def ended(self, result: Result) -> None:
        self.heard.append(result.stopped)
        self.over.set()

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
    recorder.broken = range(3)
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
    assert recorder.over.wait(20)
    assert len(recorder.heard) <= 5 + 2, "the one it was busy with, those that may wait, and the end"


def test_after_an_error_it_is_left_alone_for_its_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that moves on by ten seconds with each look: one look for an event, another for an error."""
    clock = itertools.count(0, 10)
    recorder, said = Recorder(), list[str]()
    recorder.pause_seconds, recorder.broken = 25.0, (0,)
    monkeypatch.setattr(listening, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    listeners = Listeners([recorder], said.append)
    for step in range(5):
        listeners.tell("step", 0, {}, step, {})
    listeners.tell("ended", RESULT)
    assert recorder.over.wait(20)
    assert recorder.heard == [3, 4, "trials"], "the pause lasts from 10 to 35; 1 comes at 20, 2 at 30"
    assert len(said) == 1
    listeners.close(interrupted=False)


def test_a_run_that_a_signal_ended_waits_for_all_listeners_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has eight seconds in all, and eight listeners that hang would take four, one after the other."""
    monkeypatch.setattr(listening, "INTERRUPTED_SECONDS", 0.5)
    recorders, said = [Recorder() for _ in range(8)], list[str]()
    for recorder in recorders:
        recorder.patience_seconds = 20.0
        recorder.go_on.clear()
    listeners = Listeners(recorders, said.append)
    listeners.tell("step", 0, {}, 1, {})
    began = time.monotonic()
    heard(listeners, lambda: Result("s", "interrupted", None, {}, ()))
    assert 0.4 < time.monotonic() - began < 2.5
    assert len(said) == 8
    for recorder in recorders:
        recorder.go_on.set()


def test_a_run_that_ends_by_an_error_is_told_too() -> None:
    recorder, error = Recorder(), DeviceError("no device")

    def run() -> Result:
        raise error

    with pytest.raises(DeviceError):
        heard(Listeners([recorder]), run)
    assert recorder.heard == [error]
