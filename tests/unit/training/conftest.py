"""The fixtures of training_jobs."""

from __future__ import annotations

from training_jobs import (
    compiler_works,
    data,
    device,
    folders,
    home,
    kernels_are_compiled_elsewhere,
    kernels_are_needed,
    make_job,
)

__all__ = [
    "compiler_works",
    "data",
    "device",
    "folders",
    "home",
    "kernels_are_compiled_elsewhere",
    "kernels_are_needed",
    "make_job",
]
