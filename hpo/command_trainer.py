"""The child process that runs commands: `python -m hpo.command_trainer --fd N --device cpu`. It never loads torch.

Two processes, so that a program of the user's never outlives either: the first waits, the second speaks hpo.messages
over the inherited socket N, as hpo.trainer does, and runs the programs. Whichever loses the other ends all that is
below it.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from hpo.channel import Channel, show_device
from hpo.commands.descendants import adopt_orphans, end_descendants
from hpo.commands.inspection import inspect_command
from hpo.commands.run import CommandRun
from hpo.messages import Finished, Inspect, Inspected, Job, Ready
from hpo.signals import pass_over_signals
from hpo.trainers.gpus import visible_gpus

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    show_device(options.device)
    pass_over_signals()
    os.dup2(2, 1)
    adopt_orphans()
    first_lives, first_holds = os.pipe()  # the second reads its end when the first is gone
    folder = Path(tempfile.mkdtemp(prefix="hpo-metrics-"))
    second = os.fork()
    if second:
        os.close(options.fd)
        os.close(first_lives)
        return _wait(second, folder)
    os.close(first_holds)
    adopt_orphans()  # which no child inherits
    return _work(options, first_lives, folder)


def _wait(second: int, folder: Path) -> int:
    """End as the second process ends, once nothing is left below."""
    status = 0
    while True:
        with suppress(ChildProcessError):
            pid, status = os.waitpid(-1, 0)
            if pid != second:
                continue
        break
    end_descendants()
    _remove(folder)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _work(options: argparse.Namespace, first_lives: int, folder: Path) -> int:
    channel = Channel(Connection(options.fd), end_descendants)
    threading.Thread(target=channel.read, name="reader", daemon=True).start()
    threading.Thread(target=_leave_with, args=(first_lives, channel, folder), name="watch", daemon=True).start()
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": _visible(options.device, os.environ)}
    channel.send(Ready(os.getppid(), options.device, platform.machine(), {"python": platform.python_version()}))
    while True:
        message = channel.jobs.get()
        if isinstance(message, Inspect):
            command = message.job.command
            channel.send(Inspected() if command is None else inspect_command(command, environ))
        elif message is not None:
            channel.send(_answer(message, channel, environ, folder / "metrics"))


def _leave_with(first_lives: int, channel: Channel, folder: Path) -> None:
    os.read(first_lives, 1)
    _remove(folder)
    channel.leave()


def _answer(job: Job, channel: Channel, environ: Mapping[str, str], pipe: Path) -> Finished:
    """Run the job's program, whatever happens."""
    stop = channel.begin(job)
    try:
        finished = CommandRun(job, channel.send, stop, channel.answers, environ, pipe).run()
    except OSError as error:  # a disk that is full, a link in place of a folder
        finished = Finished(job.trial_id, "failed", reason=f"{type(error).__name__}: {error}", facts={"warnings": []})
    finally:
        channel.end()
    return finished


def _visible(device: str, environ: Mapping[str, str]) -> str:
    """What CUDA shows a program on `device`: that one alone, or those of "cuda:0,cuda:1"; none where it is the CPU."""
    if not device.startswith("cuda"):
        return ""
    gpus, indices = visible_gpus(environ), [int(one.partition(":")[2] or 0) for one in device.split(",")]
    return ",".join(gpus[index] if index < len(gpus) else str(index) for index in indices)


def _remove(folder: Path) -> None:
    with suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hpo.command_trainer", description="Started by hpo's coordinator.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--device", required=True, help="cpu, cuda, cuda:1")
    parser.add_argument("--memory-fraction", type=float, help="not used: a program sees to its own memory")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
