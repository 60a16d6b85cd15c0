"""The GPUs and MIG slices that a process may use, found without torch, and which of them a trainer is shown."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from functools import lru_cache

__all__ = ["shown", "visible_gpus"]


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES and nvidia-smi leave, named as in the former: "0", "GPU-...", "MIG-...".

    A GPU that is cut into MIG slices counts as its slices.
    """
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None and not named.strip():
        return []
    here = _listed(environ.get("PATH", ""))
    if named is None or not here:
        return list(here)
    parts = [part.strip() for part in named.split(",")]
    hidden = next((place for place, part in enumerate(parts) if part in ("", "-1")), len(parts))
    return parts[:hidden]  # CUDA ignores everything after an invalid device


def shown(device: str, environ: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """The name and environment under which a trainer finds `device`, the n-th of `visible_gpus`.

    They differ only for MIG slices: CUDA shows a process no more than one, so a trainer must be shown only its own.
    """
    gpus = visible_gpus(environ) if device.startswith("cuda:") else []
    if not any(gpu.startswith("MIG-") for gpu in gpus):
        return device, environ
    return "cuda:0", {**environ, "CUDA_VISIBLE_DEVICES": gpus[int(device.removeprefix("cuda:"))]}


@lru_cache(maxsize=8)  # if a GPU has died, nvidia-smi may take all 20 seconds: not again for every trainer
def _listed(path: str) -> tuple[str, ...]:
    """Every GPU, or its MIG slices if it has any, as the `nvidia-smi` found in `path` lists them."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], env={"PATH": path}, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if listing.returncode != 0:
        return ()
    found: list[str] = []
    for gpu in re.split(r"^(?=GPU \d+:)", listing.stdout, flags=re.MULTILINE):
        itself_first = re.findall(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)", gpu)
        found += itself_first[1:] or itself_first
    return tuple(found)
