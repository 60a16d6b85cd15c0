"""The child process that trains: `python -m hpo.trainer --fd N --device cpu [--memory-fraction F]`.

With `--rank R --ranks N --meeting FILE` it is one of N that train each trial together, which hpo.gang_trainer started.

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
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import torch

from hpo.channel import Channel, show_device
from hpo.commands.descendants import end_leftovers
from hpo.data.files import Folders
from hpo.errors import DeviceError
from hpo.fresh_process import begin_anew, carried
from hpo.messages import Epoch, Finished, Inspect, Inspected, Job, Message, Ready
from hpo.own_training.inspection import inspect_function
from hpo.own_training.objective import run_objective
from hpo.own_training.training import run_training
from hpo.settings import Settings
from hpo.signals import hear_signals_in_forks, pass_over_signals
from hpo.torch_internals import missing
from hpo.training.cuda_errors import answers, memory_error
from hpo.training.device import HeapTrimmer, device_name, open_device, release_cached, release_memory
from hpo.training.fast_paths import own_kernels, use_settings
from hpo.training.fit import fit
from hpo.training.graphs import CaptureFailed
from hpo.training.outcomes import BROKEN_DEVICE, failure
from hpo.training.preflight import inspect_study
from hpo.training.progress import StopRequest
from hpo.training.ranks import Ranks, end_with_parent
from hpo.training.train_val_split import DataCache

__all__ = ["main", "train_here"]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    show_device(options.device)
    pass_over_signals()
    hear_signals_in_forks()
    os.dup2(2, 1)  # what a model prints goes to stderr
    if options.ranks > 1:
        end_with_parent()
    received, unrecorded = carried(options.carried)
    channel = Channel(Connection(options.fd), end_leftovers, received=received)
    threading.Thread(target=channel.read, name="reader", daemon=True).start()
    try:
        device = open_device(options.device, options.memory_fraction)
        ranks = _join(options, device)
    except DeviceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the coordinator reads the child's stderr when it dies early
        return error.exit_code
    if names := missing():
        print(f"note: torch {torch.__version__} has no {', '.join(names)}: training is slower", file=sys.stderr)  # noqa: T201
    data = _data(device)
    heap = HeapTrimmer()
    if options.carried is None:
        channel.send(_ready(device))
    while True:
        message = channel.jobs.get()
        assert message is not None  # only a coordinator in this process ends the queue
        record = unrecorded.isdisjoint(_names(message))
        try:
            with _the_only_one():
                if isinstance(message, Inspect):
                    answer: Message = _inspected(message, data, device, record)
                else:
                    answer = _answer(message, channel, data, device, record, ranks)
            channel.send(answer)
        except CaptureFailed as failed:
            data.close()
            begin_anew(channel.unbegun(message), unrecorded | {_not_to_record(message, failed)}, keep=options.fd)
        heap.rest()  # while the coordinator stores the result
        release_cached(device)
        if not answers(device):
            if ranks is not None:
                _leave(device, "its process can train nothing more")  # this trial's result has been sent
            data.close()
            begin_anew(channel.unbegun(None), unrecorded, keep=options.fd)


def train_here(connection: Connection, device_words: str, leave: Callable[[], None]) -> bool:
    """Train the first job that comes over `connection` in the thread that calls, with its terminal: `hpo run --debug`.

    leave: called when the user quits the debugger, or presses Ctrl-C; it has the coordinator ask for the trial back.
    Returns whether the user did.
    """
    channel = Channel(connection, in_process=True)
    device = open_device(device_words, None)
    data = _data(device)
    threading.Thread(target=channel.read, name="reader", daemon=True).start()
    channel.send(_ready(device))
    while (message := channel.jobs.get()) is not None:
        if isinstance(message, Inspect):
            # Not of a model: it would be built for every branch, with a breakpoint in each, before the one to debug.
            with _the_only_one():
                inspected = _inspected(message, data, device, False) if message.job.own is not None else Inspected()
            channel.send(inspected)
            continue
        try:
            with _the_only_one():
                finished = _answer(message, channel, data, device, False)
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


def _ready(device: torch.device) -> Ready:
    """Measures what is fast on this machine, where that was never done."""
    kernels = own_kernels(device)
    for note in kernels.get("notes", ()):
        print(f"note: {note}", file=sys.stderr)  # noqa: T201
    return Ready(os.getpid(), str(device), device_name(device), _versions(), kernels)


def _import_from(folders: Sequence[str]) -> None:
    sys.path += [folder for folder in folders if folder not in sys.path]


def _names(message: Job | Inspect) -> tuple[str, str]:
    """Of its model, and of its job."""
    job = message.job if isinstance(message, Inspect) else message
    return str(job.model.get("builder")), job.key


def _not_to_record(message: Job | Inspect, failed: CaptureFailed) -> str:
    """What this trainer trains eagerly from now on, which it says: this job where memory ran out, else its model."""
    model, job = _names(message)
    full = memory_error(failed.__cause__ or failed) is not None
    _say(f"the training step of {model} cannot be recorded ({failed}); {'this trial' if full else 'it'} trains eagerly")
    return job if full else model


def _inspected(message: Inspect, data: DataCache, device: torch.device, record: bool) -> Inspected:
    _import_from(message.job.sys_path)
    if message.job.own is not None:
        return inspect_function(message, device)
    return inspect_study(message, data, device, record=record)


def _answer(
    job: Job, channel: Channel, data: DataCache, device: torch.device, record: bool, ranks: Ranks | None = None
) -> Finished:
    """Train `job`, whatever happens in it but CaptureFailed, and say how it ended."""
    stop = channel.begin(job)
    _import_from(job.sys_path)
    try:
        if job.own is None:
            return _fitted(job, channel, data, device, stop, record, ranks)
        if job.own.define_by_run:
            finished = run_objective(job, channel.send, stop, channel.answers)
        else:
            finished = run_training(job, device, channel.send, stop, channel.answers, _say, ranks)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a model is the user's code: nothing it raises may end the trainer
        finished = failure(job, error)
        # Frames of the traceback hold the tensors that filled the memory.
        error.__traceback__ = error.__context__ = error.__cause__ = None
    finally:
        channel.end()
    if finished.outcome == BROKEN_DEVICE:
        _leave(device, finished.reason)
    return replace(finished, facts={**finished.facts, "device": str(device)})


@contextmanager
def _the_only_one() -> Iterator[None]:
    """End a process that the user's code in the block has forked, where it comes out of that: it would answer the
    coordinator beside this one, wait for a job that never comes, and hold the memory that it has."""
    here = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != here:
            _say("a process that the training forked came back from it, and was ended; end it there, by os._exit(0)")
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def _fitted(
    job: Job,
    channel: Channel,
    data: DataCache,
    device: torch.device,
    stop: StopRequest,
    record: bool,
    ranks: Ranks | None,
) -> Finished:
    """As `fit`. Where a GPU's memory runs out in the first epoch, once more after what earlier trials left is freed:
    torch's allocator collects no garbage of Python's before it gives up. Not one rank alone."""
    if ranks is not None:
        return fit(job, data, device, channel.send, stop, _say, ranks=ranks)
    epochs = 0

    def send(epoch: Epoch) -> None:
        nonlocal epochs
        epochs += 1
        channel.send(epoch)

    try:
        return fit(job, data, device, send, stop, _say, record)
    except Exception as error:
        if device.type != "cuda" or epochs or memory_error(error) is None:
            raise
        error.__traceback__ = error.__context__ = error.__cause__ = None
    release_memory(device)
    return fit(job, data, device, channel.send, stop, _say, record)


def _join(options: argparse.Namespace, device: torch.device) -> Ranks | None:
    """The other ranks, once all are there; None where this process trains alone."""
    if options.ranks == 1:
        return None
    try:
        return Ranks.join(options.rank, options.ranks, options.meeting, device, Settings.read().rank_seconds)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"rank {options.rank} on {device} cannot reach the others", evidence=[reason]) from error


def _leave(device: torch.device, reason: str) -> NoReturn:
    """End at once, without a result: the coordinator resumes the trial elsewhere, and watches this device."""
    print(f"{device} is broken: {reason}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(DeviceError.exit_code)  # a broken device can hang the interpreter's own way out


def _say(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)  # noqa: T201


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hpo.trainer", description="Started by hpo's coordinator.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--device", required=True, help="cpu, cuda, cuda:1")
    parser.add_argument("--memory-fraction", type=float, help="of the GPU's memory, 0..1")
    parser.add_argument("--rank", type=int, default=0, help="of this process, from 0")
    parser.add_argument("--ranks", type=int, default=1, help="how many train each trial together")
    parser.add_argument("--meeting", type=Path, help="the file by which they find each other")
    parser.add_argument("--carried", type=int, help="the file of a process before this one (hpo.fresh_process)")
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
