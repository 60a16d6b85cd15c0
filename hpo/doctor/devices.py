"""Checks that need torch, done in child processes: does every device compute, and are the data sets' files intact?"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo.doctor.finding import Finding, failed
from hpo.errors import HpoError
from hpo.messages import Ready
from hpo.trainers.devices import find_slots
from hpo.trainers.forked import command_of
from hpo.trainers.process import TrainerProcess, trainer_environment

__all__ = ["examine_data", "examine_devices"]

START_SECONDS, DATA_SECONDS = 120.0, 300.0


def examine_devices(devices: str | None) -> Iterator[Finding]:
    """Findings for each device: a trainer starts on it, and computes a product before it says that it is ready.

    On a CPU it also says which ways train small networks there, and measures that where it never was.
    """
    try:
        specs = find_slots(devices, trainers=None, trainers_per_gpu=1, environ=os.environ)
    except HpoError as error:
        yield failed("device", error)
        return
    for name in dict.fromkeys(spec.device for spec in specs):
        slots = sum(spec.device == name for spec in specs)
        yield from _device(name, slots)


def _device(name: str, slots: int) -> Iterator[Finding]:
    process = TrainerProcess(name, environ=os.environ)
    try:
        message = process.receive() if process.connection.poll(START_SECONDS) else None
        if isinstance(message, Ready):
            torch = message.versions.get("torch", "?")
            many = f"{slots} trainer{'s' if slots > 1 else ''}"
            yield Finding("device", "ok", f"{name} computes: {message.device_name}, {many}", (f"torch {torch}",))
            if message.kernels:
                yield _kernels(message.kernels)
            return
        yield Finding(
            "device", "fail", f"{name}: its trainer ended before it was ready ({process.close()})",
            ("see its output above",), "read it; then try --device cpu or another GPU",
        )  # fmt: skip
    finally:
        process.kill()


def _kernels(own: Mapping[str, Any]) -> Finding:
    """What a trainer's Ready says of the kernels on its CPU."""
    when = f"measured {own['measured']}" if own["measured"] else "not measured here"
    fact = f"{own['words']}; {when}"
    if notes := tuple(own["notes"]):
        return Finding("kernels", "warn", fact, notes, "install gcc or clang, or another version of it")
    anew = (f"kept in {own['file']}; delete it to have it measured anew",) if own["file"] else ()
    return Finding("kernels", "ok", fact, anew)


def examine_data(data_dir: Path | None) -> Iterator[Finding]:
    """Whether HPO_DATA_DIR, if it is set, is a folder; then one finding for each data set that is downloaded.

    It looks for files where trainers look, and downloads none.
    """
    if data_dir is not None and not data_dir.is_dir():
        yield Finding(
            "data", "warn", f"HPO_DATA_DIR={data_dir} is not a folder", (), "create it, or unset HPO_DATA_DIR"
        )
    environment = trainer_environment(os.environ)
    done = subprocess.run(
        command_of("hpo.data.verify"),
        capture_output=True,
        text=True,
        timeout=DATA_SECONDS,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        lines = tuple(done.stderr.strip().splitlines()[-3:])
        yield Finding("data", "fail", f"checking the data sets ended with code {done.returncode}", lines)
        return
    for row in json.loads(done.stdout):
        yield _data(**row)


def _data(name: str, altered: list[str], missing: list[str], verified: int) -> Finding:
    if altered:
        return Finding(
            "data", "fail", f"{name}: {_files(len(altered))} damaged or altered", tuple(altered),
            "delete them and copy or download them again",
        )  # fmt: skip
    if missing:
        return Finding("data", "ok", f"{name}: not here yet; a study that needs it downloads it", tuple(missing[:1]))
    return Finding("data", "ok", f"{name}: {_files(verified)}, checksums right")


def _files(count: int) -> str:
    return f"{count} file{'s' if count != 1 else ''}"
