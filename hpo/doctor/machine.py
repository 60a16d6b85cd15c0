"""This machine: free space on its disks, checkpoints nobody needs, versions, and settings that undo what hpo sets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from hpo.doctor.finding import Finding, Level
from hpo.search.code import code_facts
from hpo.settings import Settings, refused_variables
from hpo.wording import bytes_text

__all__ = ["examine_checkpoints", "examine_disk", "examine_environment", "examine_versions"]

LITTLE_BYTES, TOO_LITTLE_BYTES = 5 << 30, 500 << 20

# Trainers get one thread each (hpo.trainers.process). These variables undo that, or slow a device down.
UNDOING = {
    "MKL_DOMAIN_NUM_THREADS": "gives MKL more threads than the one that each trainer gets",
    "KMP_BLOCKTIME": "lets idle threads spin on cores that trainers need",
    "GOMP_SPINCOUNT": "lets idle threads spin on cores that trainers need",
    "CUDA_LAUNCH_BLOCKING": "waits after every kernel: several times slower",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "asks the driver for every tensor: several times slower",
    "NVIDIA_TF32_OVERRIDE": "overrides torch's setting of TF32",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "overrides torch's setting of TF32",
}

# (package, version prefix) -> why it breaks a search although pip installs it
KNOWN_BAD = {
    ("optuna", "4."): "hpo works with Optuna 5 and its tables",
    ("optuna", "6."): "hpo works with Optuna 5 and its tables",
    ("torch", "1."): "hpo needs torch 2.9 or newer",
}


def examine_disk(settings: Settings) -> Iterator[Finding]:
    """Free space where the database and checkpoints are; one finding for each file system."""
    seen: set[int] = set()
    for name, folder in (("home", settings.home), ("checkpoints", settings.checkpoint_dir)):
        place = _existing(folder)
        device = place.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(place).free
        level: Level = "fail" if free < TOO_LITTLE_BYTES else "warn" if free < LITTLE_BYTES else "ok"
        if not os.access(place, os.W_OK):
            yield Finding(
                "disk", "fail", f"{folder} ({name}) cannot be written to", next="set HPO_HOME to another folder"
            )
            continue
        advice = "make room, or set HPO_HOME or HPO_CHECKPOINT_DIR to another disk" if level != "ok" else ""
        yield Finding("disk", level, f"{bytes_text(free)} free for {name}", (str(folder),), advice)


def examine_checkpoints(settings: Settings, uids: Collection[str] | None) -> Finding:
    """Checkpoint folders of studies that the database does not have (any more). `uids` None: it could not be asked."""
    folders = sorted(path for path in settings.checkpoint_dir.glob("*-*") if path.is_dir())
    many = f"{len(folders)} stud{'y' if len(folders) == 1 else 'ies'}"
    total = bytes_text(sum(_bytes(folder) for folder in folders))
    if uids is None:
        return Finding("checkpoints", "ok", f"{many}, {total}; not compared with the database")
    orphans = [folder for folder in folders if folder.name.rpartition("-")[2] not in uids]
    if not orphans:
        return Finding("checkpoints", "ok", f"{many}, {total}; each belongs to a study of this database")
    details = tuple(f"{folder.name}  {bytes_text(_bytes(folder))}" for folder in orphans[:10])
    fact = f"{len(orphans)} folder{' belongs' if len(orphans) == 1 else 's belong'} to no study of this database"
    return Finding(
        "checkpoints", "warn", fact, details, f"if no other database needs them, delete them in {folders[0].parent}"
    )


def examine_environment(environ: Mapping[str, str], storage: str | None) -> Finding:
    """Variables that hpo refuses or that undo trainers' settings, and a password that others here can read."""
    if refused := refused_variables(environ):
        named = tuple(line.partition("=")[0].partition(":")[0] for line in refused)
        fact = f"`hpo run` refuses {', '.join(named)}"
        return Finding("environment", "fail", fact, tuple(refused), f"correct or unset {', '.join(named)}")
    found = [f"{name}={environ[name]} {why}" for name, why in UNDOING.items() if environ.get(name)]
    if storage is not None and _has_password(storage):
        found.append("the list of processes shows the password in --storage; HPO_STORAGE and a file do not show it")
    if found:
        return Finding(
            "environment", "warn", "settings that undo hpo's", tuple(found), "unset them, unless you mean it"
        )
    return Finding("environment", "ok", "no variable overrides what hpo sets for its trainers")


def examine_versions() -> Finding:
    """Versions that are known to fail, and torch with a torchvision that was built for another torch."""
    packages: dict[str, str] = code_facts()["packages"]
    shown = ", ".join(f"{name} {number}" for name, number in packages.items())
    bad = [
        f"{name} {packages[name]}: {why}"
        for (name, prefix), why in KNOWN_BAD.items()
        if packages.get(name, "").startswith(prefix)
    ]
    wanted = _wanted_torch()
    torch = packages.get("torch", "").partition("+")[0]
    if wanted and torch != wanted:
        bad.append(f"torchvision {packages['torchvision']} was built for torch {wanted}, not {torch}")
    if "not installed" in packages.values():
        bad.append(
            f"not installed: {', '.join(name for name, number in packages.items() if number == 'not installed')}"
        )
    if bad:
        return Finding(
            "versions", "fail", shown, tuple(bad), "`pip install -c constraints.txt -e .` brings them together"
        )
    return Finding("versions", "ok", shown)


def _wanted_torch() -> str:
    """The torch that torchvision names in its own requirements."""
    try:
        needed = requires("torchvision") or []
    except PackageNotFoundError:
        return ""
    exact = [line.partition("==")[2] for line in needed if line.replace(" ", "").startswith("torch==")]
    return exact[0].partition(";")[0].strip().partition("+")[0] if exact else ""


def _has_password(url: str) -> bool:
    from hpo.storage.engine import hide_password

    return hide_password(url) != url and "***" in hide_password(url)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
