"""Which outside programs are here. Tests skip without theirs; where HPO_REQUIRE_DEPLOY=1 wants them all, they fail."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

REQUIRED = os.environ.get("HPO_REQUIRE_DEPLOY") == "1"
# Programs that came by pip stand beside python; daemons in folders that not every account has on its PATH.
_PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def find(program: str) -> str:
    """The program's path, or its bare name when it is not here."""
    return shutil.which(program, path=_PLACES) or program


def needs(*programs: str, package: str | None = None, why: str) -> pytest.MarkDecorator:
    """Skip, saying why, where a program or a Python package is missing; run (and fail) where all are required."""
    missing = [program for program in programs if shutil.which(program, path=_PLACES) is None]
    if package is not None and importlib.util.find_spec(package) is None:
        missing.append(f"pip install {package}")
    return pytest.mark.skipif(bool(missing) and not REQUIRED, reason=f"no {', '.join(missing)} here: {why}")
