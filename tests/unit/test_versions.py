"""`make test-versions` tries what pyproject.toml promises: the oldest torch, the newest, and every Python."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from versions import PAIRS, tried

ROOT = Path(__file__).resolve().parents[2]


def test_every_python_and_both_ends_of_torch_are_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = [found[1] for word in project["classifiers"] if (found := re.search(r"Python :: (3\.\d+)$", word))]
    assert [python for python, _ in PAIRS] == pythons
    assert project["requires-python"] == f">={pythons[0]},<3.{int(pythons[-1].removeprefix('3.')) + 1}"
    torches = [torch for _, torch in PAIRS]
    assert f"torch>={torches[0].rpartition('.')[0]}" in project["dependencies"]
    assert f'ARG TORCH="torch=={torches[-1]} ' in (ROOT / "Dockerfile").read_text()
    page = (ROOT / "docs" / "deploy.md").read_text()
    for torch in torches:  # and the driver that each needs
        assert re.search(
            rf"^\| {re.escape(torch.rpartition('.')[0])}( \(the image's\))? \| \d+\.\d \| \d+ \|$", page, re.M
        )


def test_a_python_that_is_not_installed_is_said_and_nothing_is_run() -> None:
    row = tried("3.99", "2.15.0", [], keep=False)
    assert (row.ran, row.good, row.words) == (False, False, "no Python 3.99 on PATH or in ~/.pyenv")
