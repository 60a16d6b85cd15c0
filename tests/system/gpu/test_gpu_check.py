"""The check of a GPU: its table, its limits, and that a step which breaks costs no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_check.__main__ import STEPS
from benchmarks.gpu_check.rows import Row, read_rows, show

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "benchmarks" / "gpu_check"


def check(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", "--device", "cpu", "--out", str(out), *words],
        cwd=ROOT,
        env={**os.environ, "HPO_NATIVE": "0"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_a_step_says_what_it_found_and_the_check_ends_with_0(tmp_path: Path) -> None:
    done = check(tmp_path, "--only", "host_choice")
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "summary.txt").read_text()
    assert "a choice of the host's is not frozen  PASS" in table
    assert table.endswith("1 PASS, 0 FAIL, 0 NOT RUN\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs.tar.gz", "summary.txt"]


@pytest.mark.parametrize(("budget", "verdict"), [("0", "NOT RUN"), ("16", "FAIL")], ids=["none left", "ended by it"])
def test_time_that_is_over_is_said(tmp_path: Path, budget: str, verdict: str) -> None:
    """A step that has not ended by then is killed with all that it started, which is a failure of the step."""
    done = check(tmp_path, "--only", "killed", "--budget", budget)
    assert f"killed  {verdict}" in (tmp_path / "summary.txt").read_text()
    assert done.returncode == int(verdict == "FAIL")


def test_rows_are_read_from_whatever_a_step_printed() -> None:
    rows = read_rows('noise\nROW {"name": "a", "verdict": "PASS", "figure": "3 us"}\nROW {"name": "b", "verd')
    assert rows == [Row("a", "PASS", "3 us")]
    assert show(rows).splitlines() == ["a  PASS     3 us", "", "1 PASS, 0 FAIL, 0 NOT RUN"]


def test_the_page_has_a_row_for_every_step() -> None:
    text = (FOLDER / "README.md").read_text()
    for step in STEPS:
        assert f"| `{step.name.split()[0]}` |" in text, step.name


@pytest.mark.parametrize("script", ["kit.sh", "device_check.sh"])
def test_the_scripts_of_the_kit_are_sound(script: str) -> None:
    done = subprocess.run(["bash", "-n", str(FOLDER / script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
