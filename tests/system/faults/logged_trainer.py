"""What real trainers are forked from; each writes a line to the file named by TRAINER_LOG for everything it says.

time, pid, "begin" | "epoch" | "replayed" | outcome, trial id, epoch, seconds of training in it

While the file named by SLOWLY exists, every epoch takes 0.4 s more: time to interrupt it in, on any machine.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from hpo import fork_server, trainer
from hpo.channel import Channel
from hpo.messages import Epoch, Finished, Message
from hpo.own_messages import Report

LOG = os.environ["TRAINER_LOG"]


def log(event: str, trial_id: int, epoch: int = 0, seconds: float = 0.0) -> None:
    line = f"{time.monotonic()} {os.getpid()} {event} {trial_id} {epoch} {seconds}\n"
    with open(LOG, "a", encoding="ascii") as file:  # one write of a short line is not interleaved
        file.write(line)


class LoggedChannel(Channel):
    def send(self, message: Message) -> None:
        if isinstance(message, Epoch | Report) and os.path.exists(os.environ.get("SLOWLY", "")):
            time.sleep(0.4)
        if isinstance(message, Epoch):
            log("replayed" if message.replayed else "epoch", message.trial_id, message.epoch, message.seconds)
        elif isinstance(message, Report):
            log("epoch", message.trial_id, message.step, message.seconds)
        elif isinstance(message, Finished):
            log(message.outcome, message.trial_id, message.epoch)
        super().send(message)

    def begin(self, job: Any) -> Any:
        log("begin", job.trial_id)
        return super().begin(job)


def log_all() -> None:
    """Every trainer of this process, and of those forked from it."""
    trainer.Channel = LoggedChannel  # type: ignore[attr-defined,misc]


if __name__ == "__main__":
    log_all()
    fork_server.main(sys.argv[2:])
