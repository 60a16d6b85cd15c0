"""CUDA graphs: a training step recorded once and replayed, so that the host makes one launch per step, not a hundred.

The eager step is the specification of the recorded one (tests/system/gpu/test_recorded_steps.py). The first steps run
eagerly on a side stream, as CUDA requires; they train like any other step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

import torch
from torch import Generator, Tensor

from hpo.messages import Job
from hpo.models import NAMED
from hpo.study.own import is_own_builder

__all__ = ["CaptureFailed", "Replayed", "Work", "capture", "may_record"]

Work = Callable[[Tensor], None]
"""One training step on indices int64 [N]."""

WARM_UP = 3
"""Eager steps before the recording: they create the optimizer state and let cuDNN choose kernels and workspaces."""


class RecordStep(Protocol):
    def __call__(self, work: Work, index: Tensor, generators: Sequence[Generator]) -> Work: ...


class CaptureFailed(BaseException):
    """A step could not be recorded. What torch is left with then is not to be trained with: the trainer goes on as a
    fresh process, which runs these steps eagerly. So no `except Exception` may take this for the end of a trial."""


def may_record(job: Job, device: torch.device) -> bool:
    """Whether the steps of `job` are recorded on `device`: those of hpo's own models, and of a Model(cuda_graphs=True).

    A recording repeats the kernels of one step. A network that reads a value in `forward` cannot be recorded, and one
    that lets the host decide something there (a layer dropped at random) would silently repeat one decision.
    """
    if job.parts.get("loss") or job.parts.get("optimizer"):  # which may read a value, too
        return False
    builder = job.model.get("builder")
    own = is_own_builder(builder) and builder not in NAMED.values()
    return device.type == "cuda" and (own or job.model.get("cuda_graphs", False) is True)


class Replayed:
    """`work` on batches of `size` from a recording; batches of another size (an epoch's last) run eagerly.

    generators: those on the device that `work` draws from, beside torch's own
    Raises CaptureFailed at the first step after the warm-up.
    """

    def __init__(
        self, work: Work, size: int, generators: Sequence[Generator] = (), record: RecordStep | None = None
    ) -> None:
        self._work = work
        self._size = size
        self._generators = generators
        self._record = record or capture
        self.begin_anew()

    def begin_anew(self) -> None:
        """Warm up and record again: `work` launches other kernels from now on."""
        self._warm_up = WARM_UP
        self._replay: Work | None = None

    def __call__(self, index: Tensor) -> None:
        if len(index) != self._size:
            self._work(index)
        elif self._warm_up:
            self._warm_up -= 1
            _on_a_side_stream(self._work, index)
        else:
            if self._replay is None:
                self._replay = self._record(self._work, index, self._generators)
            self._replay(index)


def capture(work: Work, index: Tensor, generators: Sequence[Generator] = ()) -> Work:
    """`work` as a recording for indices of the shape of `index`. Recording runs nothing.

    The recording raises ValueError for indices of another shape.
    """
    recorded_index = index.clone()
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)  # each replay draws on, instead of the same numbers again
    try:
        with torch.cuda.graph(graph, stream=_side_stream()):
            work(recorded_index)
    except Exception as error:
        raise CaptureFailed(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error

    def replay(index: Tensor) -> None:
        if index.shape != recorded_index.shape:
            raise ValueError(f"recorded for indices {list(recorded_index.shape)}, not {list(index.shape)}")
        recorded_index.copy_(index)
        graph.replay()

    return replay


@cache
def _side_stream() -> torch.cuda.Stream:
    """One for all warm-ups and recordings of this process: cuBLAS keeps a workspace for each stream it has seen."""
    return torch.cuda.Stream()


def _on_a_side_stream(work: Work, index: Tensor) -> None:
    if not index.is_cuda:
        work(index)
        return
    main, side = torch.cuda.current_stream(), _side_stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        work(index)
    main.wait_stream(side)
