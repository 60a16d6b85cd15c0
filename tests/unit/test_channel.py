"""A trainer's end of the socket: a request to stop reaches the attempt that it is meant for, an answer its trial."""

from __future__ import annotations

from multiprocessing import Pipe
from typing import Any

import pytest

from hpo.channel import Channel
from hpo.messages import Job, Message, Protocol, Ready, Stop, encode
from hpo.own_messages import NO_QUESTION, Answer

LEFT: list[Any] = [None]
"""What stands in the queue of jobs once the coordinator is gone."""


def job(trial_id: int) -> Job:
    return Job(trial_id, 0, {}, Protocol(1, ("f1",)), {}, {}, 0, "")


def read(*messages: Message, running: Job | None = None) -> Channel:
    """A channel whose coordinator sent `messages` while `running` ran, and left."""
    theirs, ours = Pipe()
    channel = Channel(ours, in_process=True)
    if running is not None:
        channel.begin(running)
    for message in messages:
        theirs.send_bytes(encode(message))
    theirs.close()
    channel.read()
    return channel


def all_of(queue: Any) -> list[Any]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


@pytest.mark.parametrize("keep", [True, False])
def test_a_job_that_is_queued_begins_with_its_request_to_stop(keep: bool) -> None:
    channel = read(job(4), Stop(4, keep=keep))
    assert all_of(channel.jobs) == [job(4), *LEFT]
    stop = channel.begin(job(4))
    assert (stop.asked, stop.keep) == (True, keep)
    assert not channel.begin(job(5)).asked


def test_a_request_to_stop_an_earlier_attempt_is_not_the_next_ones() -> None:
    channel = read(Stop(4, keep=True), job(4))
    assert not channel.begin(job(4)).asked


def test_a_trial_that_runs_is_stopped_and_wakes() -> None:
    """A function that waits for an answer gets one to no question."""
    channel = read(Stop(4, keep=False), running=job(4))
    assert (channel.stop.asked, channel.stop.keep) == (True, False)
    assert all_of(channel.answers) == [Answer(4, NO_QUESTION)]


def test_an_answer_that_comes_late_is_not_the_next_trials() -> None:
    channel = read(Answer(3, 1, True), Answer(4, 1, False), running=job(4))
    assert all_of(channel.answers) == [Answer(4, 1, False)]
    channel = read(Answer(4, 1, False), running=job(4))
    channel.begin(job(5))
    assert all_of(channel.answers) == []


def test_a_coordinator_that_is_gone_stops_the_trial_of_its_own_process() -> None:
    channel = read(running=job(4))
    assert channel.stop.asked
    assert all_of(channel.jobs) == LEFT
    theirs, ours = Pipe()
    channel = Channel(ours, in_process=True)
    theirs.close()
    channel.send(Ready(1, "cpu", "cpu", {}))
    assert channel.stop.asked


def test_what_was_not_begun_goes_to_the_process_that_follows() -> None:
    """The job that begins anew, those in the queue, and every request to stop one of them."""
    channel = read(Stop(4, keep=True), job(5), Stop(5, keep=False), running=job(4))
    follows = Channel(Pipe()[0], in_process=True, received=channel.unbegun(job(4)))
    assert all_of(follows.jobs) == [job(4), job(5)]
    assert [(stop.asked, stop.keep) for stop in map(follows.begin, (job(4), job(5)))] == [(True, True), (True, False)]
