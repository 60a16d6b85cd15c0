"""The C kernels of this package: compiled once per machine by the compiler found there, and loaded by ctypes.

Without a compiler training goes on without them, by torch's own operators (docs/decisions/chains.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from hpo.settings import Settings

__all__ = ["Shape", "convolution_library"]

SOURCE = Path(__file__).with_name("convolution.c")
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared")
COMPILE_SECONDS = 60


class Shape(ctypes.Structure):
    """As in convolution.c."""

    _fields_ = tuple(
        (name, ctypes.c_int32) for name in ("groups", "inputs", "outputs", "height", "width", "kernel", "out_pad")
    )


@cache
def convolution_library() -> ctypes.CDLL | None:
    """The functions of convolution.c, or None where they cannot be had."""
    folder = Settings.read().home / "cache" / "native"
    path = folder / f"convolution-{_fingerprint()}.so"
    try:
        if not path.exists():
            _compile(path)
        return _declared(ctypes.CDLL(str(path)))
    except (OSError, subprocess.SubprocessError):
        return None


def _compile(path: Path) -> None:
    """Into a file of its own first: trainers that start together may all come here."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        words = [compiler, *FLAGS, "-o", str(built), str(SOURCE)]
        subprocess.run(words, check=True, capture_output=True, timeout=COMPILE_SECONDS)
        built.rename(path)


def _fingerprint() -> str:
    """Of the source and of the processor: a folder may be shared by machines of which one lacks the other's vectors."""
    processor = platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line for line in lines if line.startswith(("flags", "Features")))
    return hashlib.sha256(SOURCE.read_bytes() + processor.encode()).hexdigest()[:16]


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number, shape = ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(Shape)
    library.lanes.argtypes, library.lanes.restype = (), number
    library.to_lanes.argtypes = (pointer, number, number, number, number, number, pointer)
    library.from_lanes.argtypes = (pointer, number, number, pointer)
    library.forward.argtypes = (shape, *[pointer] * 5)
    library.backward.argtypes = (shape, *[pointer] * 9)
    for function in (library.to_lanes, library.from_lanes, library.forward, library.backward):
        function.restype = None
    return library
