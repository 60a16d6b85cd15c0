"""Whether this machine can make the kernels, so that a test that needs them says why it is not run."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from hpo.training.kernels import native

__all__ = ["needs_compiler"]


@cache
def _compiles() -> bool:
    """An empty program: kernels of ours that do not compile fail their tests instead of hiding them."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.touch()
        try:
            native._compile([str(source)], Path(folder) / "empty.so")
        except (OSError, subprocess.SubprocessError):
            return False
    return True


needs_compiler = pytest.mark.skipif(not _compiles(), reason="no C compiler that works")
