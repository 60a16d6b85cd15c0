"""Samples of a torch Dataset as batches, loaded by processes of a DataLoader in an order that is known in advance.

What the samples of a batch become depends on their numbers and a seed alone, not on who loads them or when: torch's,
Python's and numpy's generators are seeded before each batch. So a trial that is resumed in the middle of an epoch sees
what it would have seen. Before each sample it would cost as much as loading one that is in memory.
"""

from __future__ import annotations

import ctypes
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hpo.errors import DataError
from hpo.user_code import line_of, named_error

__all__ = ["BatchRequest", "Broken", "SampleWorkers", "Source", "moved"]

MOST_LOSSES = 3
"""How often worker processes may be killed before it is told as an error."""

SPREAD = 0x9E3779B97F4A7C15
"""Odd and irregular: batches get unrelated seeds."""


class BatchRequest(NamedTuple):
    """A batch to load: samples of the Dataset for training or of that for scoring, and the seed of what they draw."""

    training: bool
    seed: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Broken:
    """Why a batch cannot be used, in words, and where."""

    fact: str
    where: str


@dataclass(frozen=True)
class Source(Dataset[Any]):
    """Both Datasets of a split, which have the same samples. Batches are [inputs, targets], or Broken.

    collate: makes a batch of a list of samples
    ready:   gives the batch as training takes it, or says in words what of it is not as declared
    where:   the user's line that makes the Datasets
    """

    training: Dataset[Any]
    plain: Dataset[Any]
    collate: Callable[[list[Any]], Any]
    ready: Callable[[Any], Any]
    where: str = ""

    def __len__(self) -> int:
        return len(self.plain)  # type: ignore[arg-type]

    def __getitems__(self, wanted: BatchRequest) -> Any:
        samples: Any = self.training if wanted.training else self.plain
        whole = hasattr(samples, "__getitems__")
        loaded: list[Any] = []
        _seed(wanted)
        for number in wanted.numbers:
            try:
                if whole:
                    loaded = list(samples.__getitems__(list(wanted.numbers)))
                    break
                loaded.append(samples[number])
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                which = _numbers(wanted.numbers if whole else [number])
                return Broken(f"{which} cannot be loaded: {named_error(error)}", line_of(error) or self.where)
        try:
            batch = self.collate(loaded)
        except Exception as error:  # noqa: BLE001 - neither are samples that make no batch hpo's fault
            fact = f"{_numbers(wanted.numbers)} make no batch: {named_error(error)}"
            return Broken(fact, line_of(error) or self.where)
        ready = self.ready(batch)
        return Broken(self._at_fault(loaded, wanted.numbers, ready), self.where) if isinstance(ready, str) else ready

    def _at_fault(self, loaded: Sequence[Any], numbers: Sequence[int], fact: str) -> str:
        """`fact` of a batch, and which of its samples are to blame: often one of a million."""
        facts: dict[int, str] = {}
        for number, sample in zip(numbers, loaded, strict=False):
            with suppress(Exception):  # what makes a batch of several need not make one of each
                if isinstance(said := self.ready(self.collate([sample])), str):
                    facts[number] = said
        if not facts or len(facts) == len(numbers):
            return f"{fact} ({_numbers(numbers)})"
        first = next(iter(facts.values()))
        return f"{first} ({_numbers([number for number, said in facts.items() if said == first])})"


class SampleWorkers:
    """The worker processes of one split. They start with the first batches that are expected, and stay.

    pinned: whether batches come in memory that a GPU reads while the host goes on
    """

    def __init__(self, source: Source, workers: int, *, pinned: bool) -> None:
        self._source = source
        self._workers, self._pinned = workers, pinned
        self._queue: list[BatchRequest] = []
        self._loader: DataLoader[Any] | None = None
        self._coming: Iterator[Any] | None = None
        self._next = 0
        self._lost = 0

    def expect(self, batches: Sequence[BatchRequest]) -> None:
        """Load these, in this order, ahead of `batch`. What was expected before is forgotten."""
        self._queue, self._next, self._coming = list(batches), 0, None

    def batch(self, wanted: BatchRequest) -> Any:
        """[inputs, targets] of these samples; at once if they are the next that are expected. Raises DataError."""
        expected = self._workers > 0 and self._next < len(self._queue) and self._queue[self._next] == wanted
        if not expected:
            with _own_random_numbers():
                loaded = self._source.__getitems__(wanted)
        else:
            loaded = self._from_workers()
        if isinstance(loaded, Broken):
            raise DataError(loaded.fact, evidence=[loaded.where], next="mend it, then run `hpo check`")
        return loaded

    def close(self) -> None:
        """End the processes."""
        self._coming = self._loader = None

    def _from_workers(self) -> Any:
        while True:
            try:
                if self._coming is None:
                    self._coming = self._begun()
                loaded = next(self._coming)
            except (RuntimeError, OSError, EOFError) as error:
                # OSError, EOFError: a batch of a worker that is gone by the time its tensors are asked for.
                self._lost += 1
                self.close()
                of_workers = not isinstance(error, RuntimeError) or "DataLoader worker" in str(error)
                if not of_workers or self._lost > MOST_LOSSES:
                    raise DataError(
                        f"the processes that load samples ended {self._lost} times",
                        evidence=[(str(error) or type(error).__name__).splitlines()[0]],
                        next="is there memory enough? fewer workers in Torch(...), or workers=0, need less",
                    ) from error
                continue
            self._next += 1
            return loaded

    def _begun(self) -> Iterator[Any]:
        if self._loader is None:
            queued: Any = _Queued(self)  # torch's types want lists of numbers; what is asked for here says more
            self._loader = DataLoader(
                self._source,
                batch_sampler=queued,
                collate_fn=_as_it_is,
                num_workers=self._workers,
                persistent_workers=True,
                multiprocessing_context="fork" if sys.platform == "linux" else None,
                worker_init_fn=_begin_worker,
                generator=torch.Generator(),  # else torch's own would go on by one number
                pin_memory=self._pinned,
            )
        with _children_end_without_a_word():
            return iter(self._loader)

    def rest(self) -> Iterator[BatchRequest]:
        """What is still to be loaded."""
        yield from self._queue[self._next :]


@contextmanager
def _children_end_without_a_word() -> Iterator[None]:
    """Take back the handler that torch sets for SIGCHLD when it starts workers.

    It raises wherever the process happens to be, in the middle of a step too, when a worker is killed. Without it the
    next batch that is asked for says so, at most five seconds later.
    """
    if threading.current_thread() is not threading.main_thread():  # nor does torch set one there
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before if before is not None else signal.SIG_DFL)


class _Queued:
    """The order of a DataLoader, anew for each time that it is iterated."""

    def __init__(self, workers: SampleWorkers) -> None:
        self._workers = workers

    def __iter__(self) -> Iterator[BatchRequest]:
        return self._workers.rest()


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(number: int) -> None:
    """A worker ends with its trainer, however that ends."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _seed(wanted: BatchRequest) -> None:
    seed = (wanted.seed + SPREAD * (wanted.numbers[0] + 1)) & (2**63 - 1)
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Whatever is drawn inside, the generators of this process go on from where they are."""
    kept = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        random.setstate(kept[1])
        np.random.set_state(kept[2])


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"sample{'s' if len(numbers) > 1 else ''} {shown}{', ...' if len(numbers) > 5 else ''}"


def moved(batch: Any, device: torch.device) -> Any:
    """Inputs or targets on the device; from pinned memory without waiting."""
    if isinstance(batch, Mapping):
        return {name: moved(value, device) for name, value in batch.items()}
    assert isinstance(batch, Tensor)
    return batch.to(device, non_blocking=True)
