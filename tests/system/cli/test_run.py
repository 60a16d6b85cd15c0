"""`hpo run` and `hpo worker` as processes, on a real database and real (small) training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cli_commands import ROOT, Command

TWO_VALUES = """
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    return x, 1 - x
"""


def test_a_search_prints_its_result_on_stdout_and_progress_on_stderr(
    hpo_process: Command, hpo: Command, database_url: str, tmp_path: Path
) -> None:
    words = [
        "run",
        "--study",
        "mlp_digits",
        "--storage",
        database_url,
        "--trials",
        "3",
        "--device",
        "cpu",
        "--trainers",
        "1",
    ]
    done = hpo_process(*words)
    assert done.code == 0, done.err
    assert "all trials are done" in done.out
    assert "hpo best --study mlp_digits" in done.out
    where = ("--study", "mlp_digits", "--storage", database_url)
    insight = json.loads(hpo("best", *where, "--json").out)["insight"]
    verdict = insight["verdict"]["sentence"]
    assert "baseline" in verdict
    for shown in (done, hpo("best", *where), hpo("status", *where)):
        assert f"verdict {verdict}" in " ".join(shown.out.split())
    reported = hpo("report", *where, "--out", str(tmp_path / "report"))
    assert reported.code == 0, reported.err
    kept = json.loads((tmp_path / "report" / "report.json").read_text())["insight"]
    assert kept == insight
    assert "trial 0 complete" in done.err
    assert "best so far" in done.err
    assert "Traceback" not in done.err

    counts = json.loads(hpo("status", "--study", "mlp_digits", "--storage", database_url, "--json").out)["counts"]
    assert counts["complete"] + counts["pruned"] == 3
    assert counts["running"] == 0


def test_the_best_of_several_objectives_is_said_to_be_by_the_first(
    hpo: Command, database_url: str, tmp_path: Path
) -> None:
    """It was shown as if its first value were all that had been asked for."""
    (tmp_path / "two.py").write_text(TWO_VALUES)
    words = ["--directions", "minimize,minimize", "--metric", "loss,seconds", "--storage", database_url]
    done = hpo("run", "--study", "two.py:objective", *words, "--trials", "3", "--trainers", "1")
    assert done.code == 0, done.err
    assert "best so far by loss: trial" in done.err
    assert "by loss alone; 3 trials make the Pareto front, which `hpo best` shows" in done.out


def test_quiet_and_another_name(hpo: Command, database_url: str) -> None:
    words = ["run", "--study", "mlp_digits", "--storage", database_url, "--trials", "2", "--quiet", "--name", "other"]
    done = hpo(*words, "--device", "cpu", "--trainers", "1")
    assert done.code == 0, done.err
    assert "trial 0 complete" not in done.err
    best = json.loads(hpo("best", "--study", "other", "--storage", database_url, "--json").out)
    assert best["study"] == "other"


def test_a_changed_declaration_is_refused_with_the_row(hpo: Command, database_url: str, tmp_path: Path) -> None:
    """By `hpo check` too, where the database is at hand."""
    path = tmp_path / "mine.py"
    text = (ROOT / "studies" / "mlp_digits.py").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    words = [
        "run",
        "--study",
        "./mine.py",
        "--storage",
        database_url,
        "--trials",
        "1",
        "--device",
        "cpu",
        "--trainers",
        "1",
    ]
    assert hpo(*words).code == 0
    path.write_text(text.replace("Float(1e-5, 1e-1, log=True)", "Float(1e-4, 1e-1, log=True)"), encoding="utf-8")
    checked = hpo("check", "--study", "./mine.py", env={"HPO_STORAGE": database_url})
    for done in (hpo(*words), checked):
        assert done.code == 3
        assert "1e-05 .. 0.1 log   ->   0.0001 .. 0.1 log" in done.err


def test_a_worker_of_an_unknown_study_makes_nothing(hpo: Command, database_url: str) -> None:
    done = hpo("worker", "--study", "mlp_digits", "--storage", database_url, "--device", "cpu")
    assert done.code == 2
    assert "error: " in done.err
    assert "Traceback" not in done.err


def test_ctrl_c_leaves_with_130_and_nothing_running(hpo_process: Command, database_url: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hpo", "run", "--study", "mlp_digits", "--storage", database_url, "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    first = next(line for line in process.stderr if "  trial " in line)  # at work
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - asked < 8.0
    assert process.returncode == 130, err
    assert "complete" in first or "pruned" in first
    assert "run the same command again to resume" in out
    status = json.loads(hpo_process("status", "--study", "mlp_digits", "--storage", database_url, "--json").out)
    assert status["counts"]["running"] == 0
