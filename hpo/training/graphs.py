"""CUDA graphs: a training step recorded once and replayed, so that the host makes one launch per step, not a hundred.

The eager step is the specification of the recorded one (tests/system/gpu/test_recorded_steps.py). The first steps run
eagerly on a side stream, as CUDA requires; they train like any other step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hpo.training.configuration import Recipe

__all__ = ["Replayed", "Work", "capture", "replayable"]

Work = Callable[[Tensor], None]
"""One training step on indices int64 [N]."""

WARM_UP = 3
"""Eager steps before the recording: they create the optimizer state and let cuDNN choose kernels and workspaces."""


def replayable(recipe: Recipe, device: torch.device) -> bool:
    """Whether a step of `recipe` is the same sequence of kernels every time, with no decision on the host.

    Augmentation and mixup could be recorded (they read nothing on the host), but their generator is not registered with
    the graph yet. Which parameters are frozen changes over time. The moving average is no part of a recorded step.
    """
    changing = recipe.crop_padding or recipe.flip or recipe.rotation or recipe.cutout or recipe.mixup_alpha
    return device.type == "cuda" and not (changing or recipe.freeze_epochs)


class Replayed:
    """`work` on batches of `size` from a recording; batches of another size (an epoch's last) run eagerly."""

    def __init__(self, work: Work, size: int, record: Callable[[Work, Tensor], Work] | None = None) -> None:
        self._work = work
        self._size = size
        self._record = record or capture
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
                self._replay = self._record(self._work, index)
            self._replay(index)


def capture(work: Work, index: Tensor) -> Work:
    """`work` as a recording for indices of the shape of `index`. Recording runs nothing.

    The recording raises ValueError for indices of another shape.
    """
    recorded_index = index.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work(recorded_index)

    def replay(index: Tensor) -> None:
        if index.shape != recorded_index.shape:
            raise ValueError(f"recorded for indices {list(recorded_index.shape)}, not {list(index.shape)}")
        recorded_index.copy_(index)
        graph.replay()

    return replay


def _on_a_side_stream(work: Work, index: Tensor) -> None:
    if not index.is_cuda:
        work(index)
        return
    main, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        work(index)
    main.wait_stream(side)
