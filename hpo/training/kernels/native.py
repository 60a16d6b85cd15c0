"""The C kernels of this package: compiled once per machine by the compiler there, and loaded by ctypes.

Without a compiler training uses torch's own operators (docs/decisions/chains.md).
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
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hpo.settings import Settings
from hpo.training.kernels.machine_cache import alone, find, folder_for

__all__ = ["COMPILE_SECONDS", "fingerprint", "given_up", "home", "library", "use_home"]

FOLDER = Path(__file__).parent
SOURCES = {"chain": ("chain.c", "layers.c", "convolution.c"), "channels_last": ("channels_last.c",)}
"""The sources beside this file, by the library that they are compiled to."""
_X86 = platform.machine() in {"x86_64", "AMD64"}
FLAGS = ("-O3", "-march=native" if _X86 else "-mcpu=native", "-std=gnu11", "-fPIC", "-shared")
"""Clang takes -march=native for no ARM processor, and neither compiler takes -mcpu=native for x86."""
COMPILE_SECONDS = 60

_home: Path | None = None
_given_up: set[str] = set()


def use_home(home: Path) -> None:
    """Keep libraries below `home` in this process where the user's cache cannot be had; without this call, HPO_HOME."""
    global _home
    _home = home


def home() -> Path:
    """What `use_home` was told, else HPO_HOME."""
    return _home or Settings.read().home


@cache
def library(name: str) -> ctypes.CDLL | None:
    """A library of SOURCES; None where it cannot be compiled or loaded."""
    file = f"{name}-{fingerprint()}.so"
    try:
        if found := find(home(), file):
            return ctypes.CDLL(str(found))
        if folder := folder_for(home(), file):
            with alone(folder, file):  # of the trainers that start together, one compiles
                return _load(SOURCES[name], folder / file)
        with tempfile.TemporaryDirectory() as place:  # once loaded, the file may go
            return _load(SOURCES[name], Path(place) / file)
    except subprocess.TimeoutExpired:
        _given_up.add(name)
        return None
    except (OSError, subprocess.SubprocessError):
        return None


def given_up() -> bool:
    """Whether the compiler took more than COMPILE_SECONDS for a library."""
    return bool(_given_up)


def _load(sources: Sequence[str], path: Path) -> ctypes.CDLL:
    if not path.exists():
        _compile(sources, path)
    return ctypes.CDLL(str(path))


def _compile(sources: Sequence[str], path: Path) -> None:
    """Compile into a separate file first: whoever finds the name finds all of it."""
    compiler = _compiler()
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        words = [compiler, *FLAGS, "-o", str(built), *(str(FOLDER / source) for source in sources), "-lm"]
        subprocess.run(words, check=True, capture_output=True, timeout=COMPILE_SECONDS)
        built.rename(path)


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)


def fingerprint() -> str:
    """A digest of all sources, how they are compiled, and the processor's features."""
    processor = platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line for line in lines if line.startswith(("flags", "Features")))
    texts = [path.read_bytes() for path in sorted(FOLDER.glob("*.[ch]"))]
    return hashlib.sha256(b"".join(texts) + f"{_compiler()}{FLAGS}{processor}".encode()).hexdigest()[:16]
