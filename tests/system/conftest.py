"""A compiler that remembers, for every test that trains."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

COMPILER = Path(__file__).with_name("keeping_compiler.py")


@pytest.fixture(autouse=True, scope="session")
def kernels_are_compiled_once() -> Iterator[None]:
    """Nearly every test has a home folder of its own, where trainers compile the kernels: 4 s of a processor."""
    compiler = Path(tempfile.mkdtemp(prefix="compiled-")) / "cc"
    compiler.write_text(f"#!{sys.executable} -IS\n{COMPILER.read_text()}")
    compiler.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REAL_CC", os.environ.get("CC", "cc"))
        patch.setenv("CC", str(compiler))
        yield
