"""A coordinator for one run, in the same process."""

from __future__ import annotations

import queue

import torch

from hpo.messages import Epoch, Finished, Job, Message
from hpo.own_messages import Answer, Question
from hpo.own_training.training import run_training
from hpo.training.progress import StopRequest

CPU = torch.device("cpu")


class Coordinator:
    """Answers a run, keeps what it says, and asks it to stop after some epochs."""

    def __init__(self, stop_after: int | None = None, keep: bool = True) -> None:
        self.stop, self.answers = StopRequest(keep), queue.SimpleQueue[Answer]()
        self.stop_after, self.said, self.warnings = stop_after, list[Message](), list[str]()

    def send(self, message: Message) -> None:
        self.said.append(message)
        if isinstance(message, Epoch) and not message.replayed and message.epoch == self.stop_after:
            self.stop.asked = True
        if isinstance(message, Question) and not self.stop.asked:
            self.answers.put(Answer(message.trial_id, message.number, True))

    def train(self, job: Job) -> Finished:
        return run_training(job, CPU, self.send, self.stop, self.answers, self.warnings.append)

    @property
    def epochs(self) -> list[Epoch]:
        return [message for message in self.said if isinstance(message, Epoch)]

    @property
    def curve(self) -> list[tuple[int, dict[str, float]]]:
        return [(epoch.epoch, epoch.own) for epoch in self.epochs]
