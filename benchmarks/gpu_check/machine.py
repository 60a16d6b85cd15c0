"""What this machine is, and whether hpo sees its GPUs."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from benchmarks.gpu_check.jobs import DEVICE, ON_GPU, device_words, work_folder
from benchmarks.gpu_check.rows import tell
from hpo.errors import HpoError
from hpo.trainers.devices import find_slots, usable_cores
from hpo.trainers.gpus import visible_gpus


def main() -> None:
    work_folder()
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,mig.mode.current", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    tell("GPU, driver, memory, MIG", None, said.replace("\n", "; ") or "none")
    tell("device", None, f"{device_words()}; {usable_cores()} cores, Python {sys.version.split()[0]}")
    try:
        slots = sorted(
            {spec.device for spec in find_slots(None, trainers=None, trainers_per_gpu=1, environ=os.environ)}
        )
    except HpoError as error:
        slots = [str(error)]
    seen, there = len(visible_gpus(os.environ)), torch.cuda.device_count() if torch.cuda.is_available() else 0
    tell("hpo sees the GPUs that torch sees", seen == there and (there > 0) == ON_GPU, f"{seen} of {there}: {slots}")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hpo", "doctor", "--device", DEVICE],
        capture_output=True,
        text=True,
        check=False,
    )
    devices = [line.strip() for line in (done.stdout + done.stderr).splitlines() if DEVICE in line]
    tell("hpo doctor finds the device in order", any("computes" in line for line in devices), "; ".join(devices)[:200])


if __name__ == "__main__":
    main()
