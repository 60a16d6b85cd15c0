"""A trainer's end of the socket to its coordinator: jobs and requests to stop come in, what happens goes out."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from hpo.messages import Inspect, Job, Message, Stop, decode, encode
from hpo.own_messages import FORKED, NO_QUESTION, Answer
from hpo.training.progress import StopRequest

__all__ = ["Channel", "show_device"]

LEAVE_SECONDS = 1.0
"""How long a message that is being sent may keep a trainer that is to leave."""


def show_device(device: str) -> None:
    """Have `ps` and `top` show this trainer as `hpo cuda:0`: one that was forked has no command line of its own."""
    with suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write(f"hpo {device}"[:15])


class Channel:
    """Messages to and from the coordinator. `jobs` holds the jobs received; `stop` belongs to the running one.

    before_leaving: called once the coordinator is gone, before the process ends in the middle of anything
    in_process: the coordinator is a thread of this process, which therefore outlives it: `jobs` then ends with None
    received: what an earlier process of this trainer has received and not begun (`unbegun`)
    """

    def __init__(
        self,
        connection: Connection,
        before_leaving: Callable[[], object] = lambda: None,
        *,
        in_process: bool = False,
        received: Sequence[Message] = (),
    ) -> None:
        self._connection = connection
        self._before_leaving, self._in_process = before_leaving, in_process
        self._sending = threading.RLock()
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._reading = threading.Lock()
        self._running: int | None = None
        self._stopped: dict[int, bool] = {}
        self.stop = StopRequest()
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()  # to the running trial's questions
        self.jobs: queue.SimpleQueue[Job | Inspect | None] = queue.SimpleQueue()
        for message in received:
            self._take(message)

    def send(self, message: Message) -> None:
        """Send, or leave: without a coordinator there is nothing to train for. RuntimeError in a forked process."""
        if os.getpid() != self._process:
            raise RuntimeError(FORKED)
        with self._sending:
            try:
                self._connection.send_bytes(encode(message))
            except OSError:
                self.leave()

    def begin(self, job: Job) -> StopRequest:
        """The stop request of `job`, which starts now. It includes one that came while the job was queued."""
        with self._guard:
            self._running = job.trial_id
            self.answers = queue.SimpleQueue()
            keep = self._stopped.pop(job.trial_id, None)
            self.stop = StopRequest() if keep is None else StopRequest(keep, asked=True)
            return self.stop

    def end(self) -> None:
        with self._guard:
            self._running = None

    def read(self) -> None:
        """Receive messages until the coordinator leaves; then end the process, whatever it is doing."""
        while True:
            try:
                self._connection.poll(None)
                with self._reading:  # a message is taken whole, or left to the process that follows
                    self._take(decode(self._connection.recv_bytes()))
            except (EOFError, OSError, ValueError):
                break
        self.leave()

    def unbegun(self, job: Job | Inspect | None) -> list[Message]:
        """`job`, which is to begin anew, and all that was received and not begun. Nothing is read from here on."""
        self._reading.acquire()
        jobs = [] if job is None else [job]
        while not self.jobs.empty():
            if (queued := self.jobs.get()) is not None:
                jobs.append(queued)
        with self._guard:
            stops = dict(self._stopped)
            if isinstance(job, Job) and self.stop.asked:
                stops[job.trial_id] = self.stop.keep
        return [*jobs, *(Stop(trial_id, keep) for trial_id, keep in stops.items())]

    def asked_back(self, trial_id: int) -> bool:
        """Whether the coordinator has asked for the trial, or is gone."""
        with self._guard:
            return self.stop.asked or trial_id in self._stopped

    def leave(self) -> None:
        """End the process, and say nothing more: what a program comes to that is killed with it is no result."""
        if self._in_process:
            self.stop.asked = True
            self.jobs.put(None)
            return
        self._sending.acquire(timeout=LEAVE_SECONDS)
        self._before_leaving()
        os._exit(0)

    def _take(self, message: Message) -> None:
        if isinstance(message, Job):
            with self._guard:
                self._stopped.pop(message.trial_id, None)  # meant for an earlier attempt, which has ended
            self.jobs.put(message)
        elif isinstance(message, Inspect):
            self.jobs.put(message)
        elif isinstance(message, Stop):
            self._ask(message)
        elif isinstance(message, Answer) and message.trial_id == self._running:
            self.answers.put(message)

    def _ask(self, message: Stop) -> None:
        with self._guard:
            if message.trial_id == self._running:
                self.stop.keep = message.keep
                self.stop.asked = True
                self.answers.put(Answer(message.trial_id, NO_QUESTION))  # wakes a function that waits for one
            else:
                self._stopped[message.trial_id] = message.keep
