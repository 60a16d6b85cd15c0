"""What an error of CUDA means: memory that ran out, a device that is broken, a process that can compute no more."""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = ["answers", "is_of_device", "memory_error"]

_MEMORY = (
    # torch's CPU allocator has no exception type of its own.
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",  # of the driver, not of torch's allocator
    # cuBLAS and cuDNN cannot make their handles and workspaces without memory.
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",  # each that there is needs a larger workspace
)
_DEVICE = (
    "uncorrectable ECC error",
    "uncorrectable NVLink error",
    "hardware error",
    "CUDA-capable device(s) is/are busy or unavailable",
    "no CUDA-capable device is detected",
)
"""Whatever code runs: another device, or this one once it is mended, trains the same trial."""


def memory_error(error: BaseException) -> BaseException | None:
    """`error`, or the one that led to it, if a device or the host ran out of memory; else None.

    A recording that memory ended raises an error about the recording, which has that of the memory as its context.
    """
    return next((one for one in _chain(error) if _says_memory(one)), None)


def is_of_device(error: BaseException) -> bool:
    """Whether the device is to blame, and not what ran on it."""
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _DEVICE)


def answers(device: torch.device) -> bool:
    """Whether this process can still use `device`: after an assertion in a kernel CUDA refuses it every later call."""
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def _says_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _MEMORY)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error`, and as long as torch raised them, the errors that were being handled when it was raised."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        yield one
        seen.add(id(one))
        context = None if one.__suppress_context__ else one.__context__
        one = (one.__cause__ or context) if isinstance(one, RuntimeError) else None
