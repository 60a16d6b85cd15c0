"""deploy/slurm/hpo.sbatch on a real Slurm: an array is preempted, goes back into the queue, and finishes the study."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.deploy.recorded import recorded
from tests.system.deploy.slurm_cluster import Slurm, slurm_cluster
from tests.system.deploy.tools import needs

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "deploy" / "slurm" / "hpo.sbatch"
TRIALS = 8

pytestmark = [
    needs("munged", "slurmctld", "slurmd", "sbatch", why="the test runs a Slurm of one node"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd wants to be root"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def environment(database: str, tmp_path: Path) -> dict[str, str]:
    """What a user of the cluster exports; `hpo` is on the PATH there."""
    (tmp_path / "bin").mkdir()
    hpo = tmp_path / "bin" / "hpo"
    hpo.write_text(f'#!/bin/sh\nexec {sys.executable} -m hpo "$@"\n')
    hpo.chmod(0o755)
    return {
        "PATH": f"{hpo.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'system' / 'deploy'}",
        "HPO_STORAGE": database,
        "HPO_HOME": str(tmp_path / "home"),
        "HPO_TRAINERS": "1",
        "HPO_DEVICES": "cpu",
        "STUDY": "tiny:study",
    }


def submit(slurm: Slurm, environment: dict[str, str], folder: Path, *more: str) -> str:
    options = ("--parsable", "--array=1-2", "--gpus-per-task=0", "--cpus-per-task=1", "--mem=0", f"--chdir={folder}")
    return slurm.run("sbatch", *options, *more, str(SCRIPT), environment=environment)


def prepare(environment: dict[str, str], *more: str) -> None:
    subprocess.run(["hpo", "db", "init", "--study", "tiny:study", *more], env={**os.environ, **environment}, check=True)


@pytest.mark.faults
def test_preempted_tasks_put_their_trials_down_and_finish_the_study_from_the_queue(
    slurm: Slurm, environment: dict[str, str], database: str, tmp_path: Path
) -> None:
    """SIGTERM with Slurm's own grace time; requeued by Slurm; exactly the trials asked for, each epoch once."""
    prepare(environment, "--trials", str(TRIALS))
    job = submit(slurm, environment, tmp_path, "--partition=low", "--time=01:00:00")
    _until(lambda: recorded(database).finished >= 2 and recorded(database).held >= 2, slurm, tmp_path)

    slurm.run("sbatch", "--partition=high", "--exclusive", f"--chdir={tmp_path}", "--wrap", "sleep 3")
    _until(lambda: all("goes back into the queue" in log for log in _logs(tmp_path)), slurm, tmp_path)
    assert recorded(database).finished < TRIALS

    # Slurm may let a requeued job wait for two minutes; nothing is gained by waiting along.
    for task in ("1", "2"):
        if any(line.startswith(f"{job}_{task} PENDING") for line in slurm.states()):
            slurm.run("scontrol", "update", f"JobId={job}_{task}", "StartTime=now")
    _until(lambda: not slurm.states(), slurm, tmp_path)
    end = recorded(database)
    end.check_nothing_lost()
    assert end.finished == len(end.states) == TRIALS
    assert end.attempts == {1}, "a preemption cost a trial one of its attempts"


def _comes_back(slurm: Slurm, database: str, folder: Path, why: str) -> None:
    """The task waits in the queue again, its worker has ended for this reason, and nothing is lost."""
    _until(lambda: any("PENDING" in line for line in slurm.states()), slurm, folder)
    recorded(database).check_nothing_lost()
    (log,) = _logs(folder)
    assert f"worker done ({why})" in log
    assert "goes back into the queue" in log


def test_a_worker_leaves_before_its_allocation_ends_and_its_task_goes_back_into_the_queue(
    slurm: Slurm, environment: dict[str, str], database: str, tmp_path: Path
) -> None:
    """--timeout comes from the allocation: three minutes less the margin. No warning of Slurm's comes before that."""
    prepare(environment, "--timeout", "5h")
    submit(slurm, {**environment, "MARGIN": "135"}, tmp_path, "--array=1-1", "--time=00:03:00", "--signal=CONT@1")
    _until(lambda: bool(recorded(database).epochs), slurm, tmp_path)
    _comes_back(slurm, database, tmp_path, "deadline")


def test_a_warned_worker_leaves_at_once_and_its_task_goes_back_into_the_queue(
    slurm: Slurm, environment: dict[str, str], database: str, tmp_path: Path
) -> None:
    """USR1 to the script, as Slurm's --signal=B:USR1@60 sends it, at a moment of the test's choosing."""
    prepare(environment, "--timeout", "5h")
    job = submit(slurm, environment, tmp_path, "--array=1-1", "--time=01:00:00")
    _until(lambda: bool(recorded(database).epochs), slurm, tmp_path)
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    _comes_back(slurm, database, tmp_path, "terminated")


def test_a_cancelled_job_puts_its_trials_down_and_stays_away(
    slurm: Slurm, environment: dict[str, str], database: str, tmp_path: Path
) -> None:
    """scancel is a person's word: nothing is lost, and nothing comes back into the queue."""
    prepare(environment, "--timeout", "5h")
    job = submit(slurm, environment, tmp_path, "--array=1-1", "--time=01:00:00")
    _until(lambda: bool(recorded(database).epochs), slurm, tmp_path)
    slurm.run("scancel", job)
    _until(lambda: not slurm.states(), slurm, tmp_path)
    recorded(database).check_nothing_lost()
    (log,) = _logs(tmp_path)
    assert "goes back into the queue" not in log


def _logs(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("hpo-*.log"))]


def _until(condition: Callable[[], bool], slurm: Slurm, folder: Path, seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        logs = "".join(path.read_text()[-2000:] for path in folder.glob("hpo-*.log"))
        assert time.monotonic() < until, f"{slurm.states()}\n{logs}{slurm.logs()}"
        time.sleep(0.3)
