"""The child process that trains: `python -m hpo.trainer --fd N --device cpu [--memory-fraction F]`.

It exchanges hpo.messages over the inherited socket N. One thread blocks on the socket, so that a request to stop is
seen at the next step and a closed socket at once; the main thread trains. The coordinator handles signals.
"""

from __future__ import annotations

import os

# Before torch is imported: the pools of OpenMP and MKL read these once.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
# oneDNN caches what it made for each shape, 1,024 entries each by default: random networks fill these caches with half
# a gigabyte. Four layers of a perceptron need 40 products; MobileNet V3 large at two batch sizes needs 500 primitives.
os.environ |= {"LRU_CACHE_CAPACITY": "64", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "640", **os.environ}

import argparse
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from multiprocessing.connection import Connection

import torch

from hpo.channel import Channel
from hpo.data.files import Folders
from hpo.errors import DeviceError
from hpo.messages import Finished, Inspect, Inspected, Job, Ready
from hpo.own_training.inspection import inspect_function
from hpo.own_training.objective import run_objective
from hpo.own_training.training import run_training
from hpo.settings import Settings
from hpo.torch_internals import missing
from hpo.training.device import HeapTrimmer, device_name, open_device, release_memory
from hpo.training.fast_paths import use_settings
from hpo.training.fit import fit
from hpo.training.outcomes import failure
from hpo.training.preflight import inspect_study
from hpo.training.train_val_split import DataCache

__all__ = ["main", "train_here"]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)  # what a model prints goes to stderr
    channel = Channel(Connection(options.fd))
    threading.Thread(target=channel.read, name="reader", daemon=True).start()
    try:
        device = open_device(options.device, options.memory_fraction)
    except DeviceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the coordinator reads the child's stderr when it dies early
        return error.exit_code
    if names := missing():
        print(f"note: torch {torch.__version__} has no {', '.join(names)}: training is slower", file=sys.stderr)  # noqa: T201
    data = _data(device)
    heap = HeapTrimmer()
    channel.send(Ready(os.getpid(), str(device), device_name(device), _versions()))
    while True:
        message = channel.jobs.get()
        if isinstance(message, Inspect):
            channel.send(_inspected(message, data, device))
        elif message is not None:
            channel.send(_answer(message, channel, data, device))
            heap.rest()  # while the coordinator stores the result


def train_here(connection: Connection, device_words: str, leave: Callable[[], None]) -> bool:
    """Train the first job that comes over `connection` in the thread that calls, with its terminal: `hpo run --debug`.

    leave: called when the user quits the debugger, or presses Ctrl-C; it has the coordinator ask for the trial back.
    Returns whether the user did.
    """
    channel = Channel(connection, in_process=True)
    device = open_device(device_words, None)
    data = _data(device)
    threading.Thread(target=channel.read, name="reader", daemon=True).start()
    channel.send(Ready(os.getpid(), str(device), device_name(device), _versions()))
    while (message := channel.jobs.get()) is not None:
        if isinstance(message, Inspect):
            # Not of a model: it would be built for every branch, with a breakpoint in each, before the one to debug.
            channel.send(_inspected(message, data, device) if message.job.own is not None else Inspected())
            continue
        try:
            finished = _answer(message, channel, data, device)
        except KeyboardInterrupt as error:
            finished = failure(message, error)
        if finished.reason.partition(":")[0] not in _QUIT:
            channel.send(finished)
            return False
        leave()
        while not channel.asked_back(message.trial_id):  # else nobody would put the trial back into the queue
            time.sleep(0.02)
        channel.send(Finished(message.trial_id, "stopped"))
        return True
    return False


_QUIT = ("BdbQuit", "KeyboardInterrupt")
"""What a debugger, and Ctrl-C, raise in the code that is debugged."""


def _data(device: torch.device) -> DataCache:
    settings = Settings.read()
    use_settings(settings)
    return DataCache(Folders(settings.data_dir or settings.home / "data", settings.home / "cache"), device)


def _import_from(folders: Sequence[str]) -> None:
    sys.path += [folder for folder in folders if folder not in sys.path]


def _inspected(message: Inspect, data: DataCache, device: torch.device) -> Inspected:
    _import_from(message.job.sys_path)
    return inspect_study(message, data, device) if message.job.own is None else inspect_function(message, device)


def _answer(job: Job, channel: Channel, data: DataCache, device: torch.device) -> Finished:
    """Train `job`, whatever happens in it, and send its end."""
    stop = channel.begin(job)
    _import_from(job.sys_path)
    try:
        if job.own is None:
            return fit(job, data, device, channel.send, stop, _say)
        if job.own.define_by_run:
            finished = run_objective(job, channel.send, stop, channel.answers)
        else:
            finished = run_training(job, device, channel.send, stop, channel.answers, _say)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a model is the user's code: nothing it raises may end the trainer
        finished = failure(job, error)
        # Frames of the traceback hold the tensors that filled the memory.
        error.__traceback__ = error.__context__ = error.__cause__ = None
    finally:
        channel.end()
    if device.type == "cuda":  # what it held of the main memory goes while the coordinator stores the result
        release_memory(device)
    return replace(finished, facts={**finished.facts, "device": str(device)})


def _say(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)  # noqa: T201


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hpo.trainer", description="Started by hpo's coordinator.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--device", required=True, help="cpu, cuda, cuda:1")
    parser.add_argument("--memory-fraction", type=float, help="of the GPU's memory, 0..1")
    return parser.parse_args(arguments)


def _versions() -> dict[str, str]:
    # torchvision takes two seconds to import, and most trainers never need it.
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": metadata.version("torchvision"),
    }


if __name__ == "__main__":
    sys.exit(main())
