"""The trainer of one trial on several devices: `python -m hpo.gang_trainer --fd N --device cuda:0,cuda:1`.

It never loads torch. It starts an hpo.trainer for each device, a rank, and stands between them and the coordinator:
what that says goes to all ranks, what rank 0 says goes to the coordinator. A rank's error is the trial's, and the ranks
are replaced; a rank that is killed or hangs ends this process, which the coordinator sees as a trainer lost.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn

from hpo.channel import show_device
from hpo.errors import DeviceError
from hpo.messages import LOST_PEER, Finished, Inspect, Job, Message, Ready, Stop, decode, encode
from hpo.own_messages import Answer
from hpo.settings import Settings
from hpo.trainers.process import TRAINER, TrainerProcess, next_after

__all__ = ["Gang", "main"]

CAUSE_SECONDS = 3.0
"""A rank that misses another knows it a moment before that one's end, or error, is known here."""
CLEAN = ("complete", "stopped", "diverged")
"""How a trial ends in all ranks at once, which can then train the next one."""


def main(arguments: Sequence[str] | None = None, rank_command: Sequence[str] = TRAINER) -> NoReturn:
    options = _options(arguments)
    show_device(options.device)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="hpo-gang-") as folder:
        gang = Gang(Connection(options.fd), options.device.split(","), Path(folder), rank_command)
        try:
            end = gang.work()
        finally:
            gang.kill()
    _end_as(end)  # at once: the socket closes with the process, and not before


class Gang:
    """The ranks of one slot, and the trial that they train.

    folder: for the files by which they find each other
    """

    def __init__(self, coordinator: Connection, devices: Sequence[str], folder: Path, command: Sequence[str]) -> None:
        self._coordinator, self._devices, self._folder, self._command = coordinator, devices, folder, command
        self._patience = Settings.read().rank_seconds
        self._generation = 0
        self._held: list[Message] | None = []  # for the ranks, until all of them are ready; then None
        self._ranks: list[TrainerProcess] = []
        self._job: Job | None = None
        self._start()

    def work(self) -> int:
        """Until the coordinator leaves, or a rank is lost: then how that ended, -9 for SIGKILL."""
        while True:
            for source in wait([self._coordinator, *(rank.connection for rank in self._ranks)], 0.5):
                if source is self._coordinator and not self._from_coordinator():
                    return 0
                # Not one that was replaced in this turn.
                number = next((k for k, rank in enumerate(self._ranks) if rank.connection is source), None)
                end = None if number is None else self._from_rank(number)
                if end is not None:
                    return end
            if self._waited_for and time.monotonic() > self._cause_by:
                names = ", ".join(f"{rank} ({self._devices[rank]})" for rank in self._waited_for)
                _say(
                    f"rank {names} of {len(self._ranks)} does not answer: the others have finished the trial, "
                    "or report it missing; `hpo doctor` tests the devices, and HPO_RANK_SECONDS gives one that is only "
                    "busy more time"
                )
                return DeviceError.exit_code

    def kill(self) -> None:
        for rank in self._ranks:
            rank.end()
        for rank in self._ranks:
            rank.kill()

    def _start(self) -> None:
        self._generation += 1
        size, meeting = len(self._devices), self._folder / f"ranks-{self._generation}"
        # Ranks of one machine: whatever its host name leads to, they reach each other. Ports are the system's choice.
        # torch warns of what run.wrap asks for on purpose.
        own = {"GLOO_SOCKET_IFNAME": "lo"} if Path("/sys/class/net/lo").exists() else {}
        environ = {**own, "TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}
        self._ranks = [
            TrainerProcess(
                device,
                command=self._command,
                arguments=("--rank", str(rank), "--ranks", str(size), "--meeting", str(meeting)),
                environ=environ,
                fork=False,  # a rank ends with this process, its parent
            )
            for rank, device in enumerate(self._devices)
        ]
        self._ready: dict[int, Ready] = {}
        self._begin(None)

    def _begin(self, job: Job | None) -> None:
        self._job = job
        self._finished: dict[int, Finished] = {}
        self._cause_by = float("inf")

    @property
    def _waited_for(self) -> list[int]:
        """The ranks that have not ended the trial while others have."""
        return [rank for rank in range(len(self._ranks)) if rank not in self._finished] if self._finished else []

    # From either side ---------------------------------------------------------------------------------------------

    def _from_coordinator(self) -> bool:
        """Pass a message on; False when the coordinator is gone."""
        try:
            message = decode(self._coordinator.recv_bytes())
        except (EOFError, OSError, ValueError):
            return False
        if self._held is None:
            self._pass_on(message)
        else:
            self._held.append(message)
        return True

    def _pass_on(self, message: Message) -> None:
        if isinstance(message, Job):
            self._begin(message)
        first_only = isinstance(message, Inspect | Answer)
        for rank in self._ranks[:1] if first_only else self._ranks:
            if isinstance(message, Job | Stop | Inspect | Answer):
                rank.send(message)

    def _from_rank(self, number: int) -> int | None:
        """Take in a message of rank `number`; how it ended where it is lost, with the gang."""
        message = self._ranks[number].receive()
        if message is None:
            return self._lost(number)
        if isinstance(message, Ready):
            return self._on_ready(number, message)
        if isinstance(message, Finished):
            return self._on_finished(number, message)
        if number == 0:
            self._tell(message)
        return None

    def _on_ready(self, number: int, message: Ready) -> int | None:
        self._ready[number] = message
        if len(self._ready) < len(self._ranks):
            return None
        first = self._ready[0]
        for rank, ready in sorted(self._ready.items()):
            if ready.versions != first.versions:
                _say(
                    f"rank {rank} runs {_versions(ready)}, and rank 0 {_versions(first)}: ranks cannot train together "
                    "on different versions; start again once the installation is whole"
                )
                return DeviceError.exit_code
        if self._held is None:  # they replace others
            return None
        names = dict.fromkeys(self._ready[rank].device_name for rank in range(len(self._ranks)))
        named = f"{len(self._ranks)} x {', '.join(names)}"
        self._tell(Ready(os.getpid(), ",".join(self._devices), named, first.versions, first.kernels))
        held, self._held = self._held, None
        for waiting in held:
            self._pass_on(waiting)
        return None

    def _on_finished(self, number: int, message: Finished) -> int | None:
        if self._job is None or message.trial_id != self._job.trial_id:
            return None
        self._finished[number] = message
        if message.outcome not in (*CLEAN, LOST_PEER):
            self._end(message, replace_ranks=True)
            return None
        patience = CAUSE_SECONDS if message.outcome == LOST_PEER else self._patience
        self._cause_by = min(self._cause_by, time.monotonic() + patience)
        if len(self._finished) < len(self._ranks):
            return None
        outcomes = {one.outcome for one in self._finished.values()}
        if LOST_PEER in outcomes:
            reasons = dict.fromkeys(one.reason for one in self._finished.values() if one.outcome == LOST_PEER)
            _say(f"the ranks have lost each other: {'; '.join(reasons)}; {next_after('')}")
            return DeviceError.exit_code
        self._end(self._finished[0], replace_ranks=len(outcomes) > 1)  # what rank 0 returns counts
        return None

    def _end(self, finished: Finished, *, replace_ranks: bool) -> None:
        """The trial has ended so. After an error the other ranks wait for one that will not come."""
        facts = {**finished.facts, "device": ",".join(self._devices)}
        if replace_ranks:
            self.kill()
            self._start()
        self._begin(None)
        self._tell(Finished(**{**vars(finished), "facts": facts}))

    def _lost(self, number: int) -> int:
        """A rank has died: how, as a process would end that ended likewise."""
        how = self._ranks[number].close()
        _say(f"rank {number} of {len(self._ranks)} on {self._devices[number]} ended ({how}); {next_after(how)}")
        return self._ranks[number].ended_with

    def _tell(self, message: Message) -> None:
        with suppress(OSError):  # the coordinator is gone, which the loop sees
            self._coordinator.send_bytes(encode(message))


def _versions(ready: Ready) -> str:
    return ", ".join(f"{name} {version}" for name, version in ready.versions.items())


def _end_as(code: int) -> NoReturn:
    """Exit code `code`; or end by the signal -`code`, as the rank did."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        with suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else DeviceError.exit_code)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201 - as the ranks' own output


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hpo.gang_trainer", description="Started by hpo's coordinator.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--device", required=True, help="cpu,cpu or cuda:0,cuda:1")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
