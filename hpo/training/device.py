"""The device a trainer works on: checked, prepared once per process, measured and cleaned up after a failure."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import platform
import resource
import time
from pathlib import Path

import torch
import torch.utils.deterministic

from hpo.errors import DeviceError

__all__ = [
    "ONE_THREAD",
    "HeapTrimmer",
    "device_name",
    "open_device",
    "peak_memory_bytes",
    "release_cached",
    "release_memory",
    "reset_peak_memory",
    "set_deterministic",
    "supports_bf16",
    "synchronize",
]

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""Environment of a trainer: two one-thread processes beat one two-thread process, and two threads each collapse."""


CONTEXT_BYTES = 512 << 20
"""What a process takes of a GPU beside its tensors: CUDA's context, and kernels of cuBLAS and cuDNN. An estimate."""


def open_device(name: str, memory_fraction: float | None = None) -> torch.device:
    """The device called `name` ("cpu", "cuda", "cuda:1"), prepared for training and self-tested.

    Call it once, before other work with torch, in the thread that trains: on a CPU it pins torch to one thread and
    flushes denormal numbers, and both hold only for pools and threads not yet started.
    memory_fraction: the share of a GPU's memory that this process may take, in (0, 1]
    Raises DeviceError where there is no such device or it does not compute.
    """
    device = _find(name)
    torch.set_num_threads(1)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    # Constant pixels let Adam's moments decay into denormals, which makes a step up to four times slower.
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    try:
        if device.type == "cuda":
            _prepare_cuda(device, memory_fraction)
        _self_test(device)
    except RuntimeError as error:
        raise DeviceError(f"{device} does not compute", evidence=[str(error).splitlines()[0]]) from error
    return device


def device_name(device: torch.device) -> str:
    """The vendor's name for it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def supports_bf16(device: torch.device) -> bool:
    """Whether its hardware computes bf16; otherwise bf16 is emulated and slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return bool(capabilities().get("avx512_bf16", False))
    try:  # torch 2.9 does not tell it
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text(errors="replace").split()
    except OSError:
        return False


def set_deterministic(wanted: bool) -> None:
    """Turn torch's deterministic algorithms on or off for the next job."""
    if wanted or torch.are_deterministic_algorithms_enabled():  # to be told, torch imports its compiler: over a second
        torch.use_deterministic_algorithms(wanted)
    # A debugging aid that writes every new tensor; torch types its module without it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not wanted


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # Linux: 5 resets the peak resident size of this process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory held since `reset_peak_memory`: device memory on CUDA, the process's resident size on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


MANY_OBJECTS = 5_000
"""What a collection may walk through after every trial: 2 ms."""


class HeapTrimmer:
    """Frees what each trial leaves behind, and every few seconds gives malloc's free memory back to the kernel.

    A trial and its network refer to each other in cycles. Python collects them by itself only when they are a quarter
    of all its objects: with torch's 340,000 objects, once in hundreds of trials. And each trial has a different
    network, which fits badly into the pieces of heap that earlier ones left.
    """

    def __init__(self, every_seconds: float = 2.0) -> None:
        self._every_seconds = every_seconds
        self._trimmed = -math.inf
        self._kept = 0  # objects that outlived the last collection of everything
        gc.freeze()  # torch's own objects stay anyway, and a collection that walks through them takes 0.1 s

    def rest(self) -> None:
        """Call it when a trial has ended. It takes 1 ms, and 10 ms once in `every_seconds`."""
        gc.collect()
        if not self._kept or len(gc.get_objects()) > MANY_OBJECTS:
            self._keep_out()
        if time.monotonic() - self._trimmed >= self._every_seconds:
            _trim_heap()
            self._trimmed = time.monotonic()

    def _keep_out(self) -> None:
        """Leave what is here out of later collections: modules that a trial has imported. Torch's compiler, which an
        optimizer of torch's imports at its first step, is 130,000 objects."""
        gc.freeze()
        self._kept = self._kept or gc.get_freeze_count()
        if gc.get_freeze_count() > 1.5 * self._kept:  # seldom; some of it may be what a trial held, and let go since
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._kept = gc.get_freeze_count()


def release_memory(device: torch.device) -> None:
    """Give back the memory that a job held, so that other trainers on the device can use it. Raises nothing."""
    if device.type == "cuda":
        gc.unfreeze()  # what an earlier trial left behind may be among it
    gc.collect()
    _trim_heap()
    release_cached(device)


def release_cached(device: torch.device) -> None:
    """Give back what torch's allocator keeps of a GPU's memory for later. Raises nothing."""
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):  # after an assertion in a kernel this fails as every call does
            torch.cuda.empty_cache()


def _find(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is not a device", next='use "cpu", "cuda" or "cuda:1"') from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DeviceError(f"{name!r} is not a device this service trains on", next='use "cpu", "cuda" or "cuda:1"')
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = device.index or 0
    if index >= count:
        found = ", ".join(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(count)) or "no GPU"
        raise DeviceError(f"no device {name!r} here", evidence=[f"torch sees {found}"], next="use --device cpu")
    return torch.device("cuda", index)


def _trim_heap() -> None:
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _keep_freed_memory() -> None:
    """Between two steps, glibc's malloc keeps large blocks instead of handing them back to the kernel.

    Otherwise each step gets the memory for its activations and gradients page by page again: for a perceptron of 3x900
    at batch 16 that is 1,550 page faults and a third of every step's time.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 25)


def _prepare_cuda(device: torch.device, memory_fraction: float | None) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.cuda.set_device(device)
    torch.set_float32_matmul_precision("high")  # TF32
    torch.backends.cudnn.benchmark = True
    if memory_fraction is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(_without_context(memory_fraction, total), device)


def _without_context(share: float, total_bytes: int) -> float:
    """Of a GPU's memory, what torch's allocator may take of a trainer's `share`: it does not count CUDA's context."""
    if share >= 1.0:
        return share
    return max(share - CONTEXT_BYTES / total_bytes, share / 2)


def _self_test(device: torch.device) -> None:
    """Multiply integers that are small enough to be exact in TF32, and compare."""
    left = torch.arange(64 * 64).reshape(64, 64) % 7
    right = left.T % 5
    product = (left.float().to(device) @ right.float().to(device)).cpu()
    if not torch.equal(product.long(), left @ right):
        raise DeviceError(f"{device} computes wrong products", next="take this device out of service")
