"""What this machine has measured to be fast: measured once, kept for every later process, read by all trainers.

The file holds what was measured and on what: processor, versions, the kernels' digest. Its name changes with each of
these, and whoever deletes it has it measured anew. So that two trainers never go different ways, one measures while the
others wait; and where nothing can be kept, nothing is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from hpo.atomic_file import write_atomically
from hpo.decoding import decoded_or
from hpo.ownership import read_bounded
from hpo.training.kernels import native
from hpo.training.kernels.choice import DEFAULT, Choice
from hpo.training.kernels.machine_cache import alone, find, folder_for

__all__ = ["OwnChoice", "own_choice"]

FORMAT = 1
MOST_BYTES = 1 << 20
NOT_KEPT = "what is fast here is not measured: no folder to keep it in can be written; the usual choice is taken"
WRONG = "the compiled kernels ({}) compute something else than torch, so they are left: training is slower"
MISSING = "no C compiler makes the kernels, so torch's operators train instead: small networks are slower"
SLOW = (
    "the C compiler took more than {} s for the kernels and was given up, so torch's operators train instead: small "
    "networks are slower"
)
AGAIN = "; a run on an idle machine tries again once {} is deleted"


@dataclass(frozen=True)
class OwnChoice:
    """choice: what is taken; measured: when, in UTC, "" where it was not; path: the file; notes: sentences to tell."""

    choice: Choice
    measured: str = ""
    path: str = ""
    notes: tuple[str, ...] = ()
    timings: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For hpo.messages.Ready: {"choice", "words", "measured", "file", "notes"}."""
        said = {"choice": self.choice.as_json(), "words": self.choice.words(), "measured": self.measured}
        return {**said, "file": self.path, "notes": [*self.notes]}


def own_choice(home: Path, *, bf16: bool) -> OwnChoice:
    """What was measured on this machine; measured now where it never was, which takes up to two seconds.

    bf16: whether the hardware has it
    """
    about = _about(bf16)
    name = f"calibration-{hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if (kept := _read(find(home, name))) is not None:
        return kept
    if (folder := folder_for(home, name)) is None:
        return OwnChoice(DEFAULT, notes=(*_tried(), NOT_KEPT))
    with alone(folder, name):
        if (kept := _read(find(home, name))) is not None:  # another trainer has just measured
            return kept
        return _measured(folder / name, about, bf16)


def _measured(path: Path, about: dict[str, Any], bf16: bool) -> OwnChoice:
    """Measure, and keep it at `path`."""
    from hpo.training.kernels.calibration import Stopwatch, measure

    notes, watch = _tried(path), Stopwatch()
    choice = measure(watch, bf16=bf16)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    found = {"choice": choice.as_json(), "measured": now, "notes": notes, "microseconds": watch.timings}
    try:
        write_atomically(path, json.dumps({**about, **found}, indent=1) + "\n")
    except OSError:
        return OwnChoice(DEFAULT, notes=(*notes, NOT_KEPT))
    return OwnChoice(choice, now, str(path), tuple(notes), dict(watch.timings))


def _about(bf16: bool) -> dict[str, Any]:
    """What decides how fast things are, as far as it can be known without measuring."""
    processor = platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    limits = {name: os.environ[name] for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA") if name in os.environ}
    limits |= {name: value for name, value in os.environ.items() if name.startswith("MKL_ENABLE")}
    return {
        "format": FORMAT,
        "processor": processor,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "bf16": bf16,
        "torch": torch.__version__,
        "kernels": native.fingerprint(),
        "limits": limits,
    }


def _tried(path: Path | None = None) -> list[str]:
    """What is to be told about the kernels as the compiler of this machine made them.

    path: the file that will keep it; None where nothing can
    """
    from hpo.training.kernels import channels_last, convolutions, fused_train_step

    if any(native.library(name) is None for name in native.SOURCES):
        if not native.given_up():
            return [MISSING]
        return [SLOW.format(native.COMPILE_SECONDS) + (AGAIN.format(path) if path else "")]
    parts = {"whole steps": fused_train_step, "convolutions": convolutions, "channels-last layers": channels_last}
    wrong = [words for words, module in parts.items() if not module.usable()]
    return [WRONG.format(", ".join(wrong))] if wrong else []


def _read(path: Path | None) -> OwnChoice | None:
    """None for a file that is not there, or not whole."""
    if path is None:
        return None
    try:
        stored = decoded_or(read_bounded(path, MOST_BYTES, links=False).decode(), {})
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or not isinstance(stored.get("choice"), dict):
        return None
    notes = [note for note in stored.get("notes") or () if isinstance(note, str)]
    return OwnChoice(
        Choice.from_json(stored["choice"]),
        str(stored.get("measured", "")),
        str(path),
        tuple(notes),
        stored.get("microseconds") or {},
    )
