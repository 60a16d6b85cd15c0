"""A trainer's end of the socket: a request to stop wakes a function that waits for an answer."""

from __future__ import annotations

import threading
from multiprocessing import Pipe

from hpo.channel import Channel
from hpo.messages import Job, Protocol, Stop, encode
from hpo.own_messages import NO_QUESTION


def test_a_request_to_stop_wakes_a_function_that_waits_for_an_answer() -> None:
    """Else it would look for one only now and then (hpo.own_training.link.LOOK_SECONDS)."""
    ours, theirs = Pipe()
    channel = Channel(theirs, in_process=True)
    stop = channel.begin(Job(5, 0, {}, Protocol(1, ("f1",)), {}, {}, 0))
    threading.Thread(target=channel.read, daemon=True).start()
    ours.send_bytes(encode(Stop(5, keep=False)))
    assert channel.answers.get(timeout=10).number == NO_QUESTION
    assert (stop.asked, stop.keep) == (True, False)
    ours.close()
