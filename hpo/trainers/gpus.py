"""The GPUs and MIG slices that a process may use, found without torch, and which of them a trainer is shown."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["shown", "unlisted", "visible_gpus"]

_SECONDS = 20
_DEVICES = Path("/dev")
_ALLOTTED = ("NVIDIA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
"""What names the GPUs of a container or of a job."""
_NONE_NAMED = ("", "void", "none", "all")
""""all" stands in images, whatever the machine has."""


@dataclass(frozen=True)
class _Listing:
    """What nvidia-smi says: each GPU by name, with its MIG slices, if it has any; or why it says nothing."""

    gpus: tuple[tuple[str, ...], ...]
    problem: str = ""

    @property
    def names(self) -> list[str]:
        """A GPU that is cut into MIG slices counts as its slices."""
        return [name for gpu in self.gpus for name in gpu[1:] or gpu]

    def has(self, name: str) -> bool:
        """Whether CUDA finds a device under `name`: a number, or the beginning of a name."""
        if name.isascii() and name.isdigit():
            return int(name) < len(self.gpus)
        return name.startswith(("GPU-", "MIG-")) and any(one.startswith(name) for gpu in self.gpus for one in gpu)


def visible_gpus(environ: Mapping[str, str]) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES and nvidia-smi leave, named as in the former: "0", "GPU-...", "MIG-...".

    A GPU that is cut into MIG slices counts as its slices.
    """
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None and not named.strip():
        return []
    here = _listed_in(environ)
    if named is None:
        return here.names
    parts = [part.strip() for part in named.split(",")]
    invalid = next((place for place, part in enumerate(parts) if not here.has(part)), len(parts))
    return parts[:invalid]  # CUDA ignores everything after an invalid device


def unlisted(environ: Mapping[str, str]) -> list[str]:
    """Where this machine seems to have a GPU that nobody hid, yet none is visible: what speaks for it, and why it is
    not seen, a line each. Else nothing."""
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if visible_gpus(environ) or (named is not None and named.strip() in ("", "-1", "NoDevFiles")):
        return []
    files = sorted(path.name for path in _DEVICES.glob("nvidia[0-9]*"))
    signs = [f"/dev/{name} is there" for name in files[:1]]
    signs += [f"{name}={environ[name]}" for name in _ALLOTTED if environ.get(name, "").strip() not in _NONE_NAMED]
    if not signs:
        return []
    problem = _listed_in(environ).problem or f"CUDA_VISIBLE_DEVICES={named} names none that nvidia-smi lists"
    return [*signs, problem]


def shown(device: str, environ: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """The name and environment under which a trainer finds `device`, the n-th of `visible_gpus`.

    They differ only for MIG slices: CUDA shows a process no more than one, so a trainer must be shown only its own.
    Several devices, "cuda:0,cuda:1", are for a trainer that starts others.
    """
    gpus = visible_gpus(environ) if device.startswith("cuda:") and "," not in device else []
    mine = gpus[int(device.removeprefix("cuda:")) :][:1] if gpus else []  # none where it has vanished: torch says so
    if not mine or not any(gpu.startswith("MIG-") for gpu in gpus):
        return device, environ
    return "cuda:0", {**environ, "CUDA_VISIBLE_DEVICES": mine[0]}


def _listed_in(environ: Mapping[str, str]) -> _Listing:
    return _listed(environ.get("PATH", ""), environ.get("LD_LIBRARY_PATH", ""))


@lru_cache(maxsize=8)  # if a GPU has died, nvidia-smi may take all 20 seconds: not again for every trainer
def _listed(path: str, libraries: str) -> _Listing:
    """What the `nvidia-smi` in `path` lists. It needs the driver's library, which may lie in one of `libraries`."""
    environ = {"PATH": path, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], env=environ, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return _Listing((), f"nvidia-smi -L did not answer within {_SECONDS} s")
    except OSError as error:
        return _Listing((), f"nvidia-smi cannot be run: {error.strerror or error}")
    if done.returncode != 0:
        said = [*done.stdout.strip().splitlines(), *done.stderr.strip().splitlines(), "nothing"]
        return _Listing((), f"nvidia-smi -L ended with {done.returncode}: {said[0]}")
    parts = re.split(r"^(?=GPU \d+:)", done.stdout, flags=re.MULTILINE)
    gpus = (tuple(re.findall(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)", part)) for part in parts)
    found = tuple(gpu for gpu in gpus if gpu)
    return _Listing(found, "" if found else "nvidia-smi -L lists none")
