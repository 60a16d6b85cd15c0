"""Whole searches by `hpo run`: one in which a trainer is killed, and one that chooses how many share the GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gpu_check.jobs import ON_GPU, work_folder
from benchmarks.gpu_check.rows import tell

KILL_AFTER_SECONDS = 22.0


def hpo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hpo", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    print(f"$ hpo {' '.join(words)}\n{done.stdout}{done.stderr}", flush=True)
    return done


def search(folder: Path, study: str, timeout: str, per_gpu: str) -> tuple[int, list[dict[str, Any]], str]:
    """(exit code, trials, what it said) of a search in `folder`."""
    words = ["--device", "cuda", "--trainers-per-gpu", per_gpu] if ON_GPU else ["--device", "cpu", "--trainers", "2"]
    done = hpo(folder, "run", "--quiet", "--study", study, "--timeout", timeout, *words)
    listed = hpo(folder, "trials", "--study", study, "--json")
    return done.returncode, json.loads(listed.stdout or "[]"), done.stdout + done.stderr


def killed(folder: Path) -> None:
    """Four trainers on the GPU, one of which is killed on the way; then a trial of it is reproduced."""
    study, name = ("cnn_mnist", "45s") if ON_GPU else ("mlp_digits", "35s")
    gone: list[int] = []

    def kill() -> None:
        time.sleep(KILL_AFTER_SECONDS)
        children = psutil.Process().children(recursive=True)
        trainers = [child for child in children if child.name().startswith("hpo ")]
        if trainers:
            trainers[-1].kill()
            gone.append(trainers[-1].pid)

    threading.Thread(target=kill, daemon=True).start()
    code, trials, said = search(folder, study, name, "4")
    states = Counter(trial["state"] for trial in trials)
    told = "ended (signal SIGKILL)" in said
    lost = states["fail"] + states["failed"] + states["running"]
    tell(
        "a search whose trainer is killed loses no trial",
        code == 0 and bool(gone) and told and not lost,
        f"{dict(states)}, killed {gone}, exit {code}",
    )
    complete = [trial["trial"] for trial in trials if trial["state"] == "complete"]
    if complete:
        done = hpo(folder, "reproduce", "--study", study, "--trial", str(min(complete)))
        lines = (done.stdout + done.stderr).strip().splitlines()
        # Without deterministic=True a GPU need not give the same bits: it is to train again and to say what differs.
        tell(
            "hpo reproduce trains a trial again",
            done.returncode in (0, 1),
            f"exit {done.returncode}: {lines[0] if lines else ''}"[:200],
        )


def auto(folder: Path) -> None:
    """How many trainers `--trainers-per-gpu auto` chooses, and what `hpo check` thinks a trial costs."""
    if not ON_GPU:
        tell("--trainers-per-gpu auto", None, "needs a GPU")
        return
    begun = time.monotonic()
    code, trials, said = search(folder, "mlp_mnist", "60s", "auto")
    seconds = time.monotonic() - begun
    devices = Counter(trial["state"] for trial in trials)
    tell(
        "--trainers-per-gpu auto searches within its time",
        code == 0 and seconds < 75,
        f"{dict(devices)} in {seconds:.0f} s; {said.strip().splitlines()[-1:]}",
    )


if __name__ == "__main__":
    {"killed": killed, "auto": auto}[sys.argv[1]](work_folder())
    sys.stdout.flush()
    os._exit(0)
