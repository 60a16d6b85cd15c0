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

from hpo.ownership import is_trusted
from hpo.settings import Settings

__all__ = ["library", "use_home"]

FOLDER = Path(__file__).parent
SOURCES = {"chain": ("chain.c", "layers.c", "convolution.c"), "channels_last": ("channels_last.c",)}
"""The sources beside this file, by the library that they are compiled to."""
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared")
COMPILE_SECONDS = 60

_home: Path | None = None


def use_home(home: Path) -> None:
    """Keep libraries below `home` in this process; without this call, below HPO_HOME."""
    global _home
    _home = home


@cache
def library(name: str) -> ctypes.CDLL | None:
    """A library of SOURCES; None where it cannot be compiled or loaded."""
    home, file = _home or Settings.read().home, f"{name}-{_fingerprint()}.so"
    try:
        if _is_ours(home, path := home / "cache" / "native" / file):
            return _load(SOURCES[name], path)
        with tempfile.TemporaryDirectory() as folder:  # once loaded, the file may go
            return _load(SOURCES[name], Path(folder) / file)
    except (OSError, subprocess.SubprocessError):
        return None


def _is_ours(home: Path, path: Path) -> bool:
    """Whether `path` and its folders from `home` on are this account's or root's: several people may share a home."""
    steps = (home, *reversed([each for each in path.parents if home in each.parents]), path)
    return all(is_trusted(step) for step in steps if step.exists() or step.is_symlink())


def _load(sources: Sequence[str], path: Path) -> ctypes.CDLL:
    if not path.exists():
        _compile(sources, path)
    return ctypes.CDLL(str(path))


def _compile(sources: Sequence[str], path: Path) -> None:
    """Compile into a separate file first: trainers that start together may all compile at once."""
    compiler = _compiler()
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        words = [compiler, *FLAGS, "-o", str(built), *(str(FOLDER / source) for source in sources), "-lm"]
        subprocess.run(words, check=True, capture_output=True, timeout=COMPILE_SECONDS)
        built.rename(path)


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)


def _fingerprint() -> str:
    """A digest of all sources, the compiler and the processor: machines that share a folder may have other vectors."""
    processor = platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line for line in lines if line.startswith(("flags", "Features")))
    texts = [path.read_bytes() for path in sorted(FOLDER.glob("*.[ch]"))]
    return hashlib.sha256(b"".join(texts) + f"{_compiler()}{processor}".encode()).hexdigest()[:16]
