"""Which frameworks are here. Tests skip without theirs; where HPO_REQUIRE_FRAMEWORKS=1 wants them all, they fail."""

from __future__ import annotations

import importlib.util
import os

import pytest

REQUIRED = os.environ.get("HPO_REQUIRE_FRAMEWORKS") == "1"  # read here: the tests themselves see no HPO_ variable


def needs(package: str) -> list[pytest.MarkDecorator]:
    """Skip where the package is missing; run (and fail) where all are required. Warnings of theirs are not ours."""
    missing = importlib.util.find_spec(package) is None and not REQUIRED
    return [pytest.mark.skipif(missing, reason=f"pip install {package}"), pytest.mark.filterwarnings("ignore")]
