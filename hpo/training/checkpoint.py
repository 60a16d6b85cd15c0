"""Checkpoints: written whole or not at all, verified when read, and never pickled.

A trial's folder holds

    current, previous    magic, SHA-256 of the rest, length and text of a JSON part, then the tensors as safetensors
    finished.json        the `Finished` message of a trial that needs no more training, and what it had told before

A write goes to a temporary file that is flushed to disk before it takes the name `current`, and the last `current`
becomes `previous`; so whenever the power fails, one whole file is there. A file that is torn, altered or from another
job is ignored.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hpo.atomic_file import AtomicFile, write_atomically
from hpo.messages import Epoch, Finished, Job
from hpo.own_messages import Attribute
from hpo.ownership import links_below, read_bounded

__all__ = ["Checkpoints", "TrainingSnapshot", "separate", "told_before"]

MAGIC = b"hpo-checkpoint-1"
MOST_BYTES = 32 << 30
"""The largest file that is read: anybody who can write to a shared folder could put a larger one there than fits."""
PATIENCE = 50.0
"""Time between two checkpoints, divided by the time that one takes: they cost at most 2 % of training."""


@dataclass(frozen=True)
class TrainingSnapshot:
    """What a checkpoint holds: `progress` is anything that JSON can hold, `tensors` are on the CPU when read."""

    progress: dict[str, Any]
    tensors: dict[str, Tensor]


def told_before(
    trial_id: int, curve: Iterable[Mapping[str, Any]], logged: Mapping[str, Any]
) -> list[Epoch | Attribute]:
    """What earlier attempts told, to be told again: whoever heard it may have been killed before it was written.

    curve: the fields of the epochs; logged: what the user's function logged, by name
    """
    told: list[Epoch | Attribute] = []
    for row in curve:
        report = [(step, value) for step, value in row["report"]]
        told.append(Epoch(**{**row, "trial_id": trial_id, "report": report, "replayed": True}))
    return told + [Attribute(trial_id, "user", name, value) for name, value in logged.items()]


class Checkpoints:
    """The checkpoints of one job, in `job.checkpoint`; if that is "", nothing is written and nothing found.

    warn: called once, with one sentence, when the disk refuses a write. Training goes on without checkpoints.
    """

    def __init__(self, job: Job, warn: Callable[[str], None]) -> None:
        self._folder = Path(job.checkpoint) if job.checkpoint else None
        self._key = job.key
        self._trial_id = job.trial_id
        self._warn = warn
        self._refused = False
        self._written_at = perf_counter()
        self._write_seconds: float | None = None

    def due(self, size_bytes: int) -> bool:
        """Whether training since the last write is worth another one of about `size_bytes`."""
        if self._folder is None or self._refused:
            return False
        # Before the first write its cost is a guess: 10 ms and 300 MB/s.
        cost = 0.01 + size_bytes / 300e6 if self._write_seconds is None else self._write_seconds
        return perf_counter() - self._written_at >= PATIENCE * cost

    def save(self, snapshot: TrainingSnapshot, begun: float | None = None) -> bool:
        """Write `snapshot`; false where there is no folder or the disk refuses.

        begun: by perf_counter, when the work for it began; None: now
        """
        if self._folder is None:
            return False
        start = perf_counter() if begun is None else begun
        current = self._folder / "current"
        try:
            self._make_folder()
            payload = _pack({"key": self._key, "progress": snapshot.progress}, snapshot.tensors)
            with AtomicFile(current, durable=True) as file:
                file.write(payload)
                if current.exists():
                    os.replace(current, self._folder / "previous")
        except OSError as error:
            self.refuse(error)
            return False
        self._written_at = perf_counter()
        self._write_seconds = self._written_at - start
        return True

    def load(self) -> TrainingSnapshot | None:
        """The newest snapshot of this job that is whole, or None."""
        for name in ("current", "previous") if self._folder is not None else ():
            try:
                header, tensors = _unpack(self._read(name))
            except (OSError, ValueError, SafetensorError):
                continue
            if header.get("key") == self._key:
                return TrainingSnapshot(header["progress"], tensors)
        return None

    def finish(self, finished: Finished, curve: list[dict[str, Any]], logged: Mapping[str, Any] | None = None) -> None:
        """Keep only `finished`, the reported epochs and the logged values, so that the same job is answered at once.

        It is not flushed to disk: if it is torn, it is ignored and the trial is trained again.
        """
        if self._folder is None:
            return
        text = json.dumps({"key": self._key, "finished": asdict(finished), "curve": curve, "logged": logged or {}})
        digest = hashlib.sha256(text.encode()).hexdigest()
        try:
            self._make_folder()
            write_atomically(self._folder / "finished.json", json.dumps([digest, text]))
            for name in ("current", "previous"):
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            self.refuse(error)

    def finished(self) -> tuple[Finished, list[Epoch | Attribute]] | None:
        """What `finish` left for this job, and what it had told before; or None."""
        if self._folder is None:
            return None
        try:
            digest, text = json.loads(self._read("finished.json"))
            if hashlib.sha256(text.encode()).hexdigest() != digest:
                return None
            record = json.loads(text)
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        if record.get("key") != self._key:
            return None
        told = told_before(self._trial_id, record["curve"], record.get("logged", {}))
        return replace(Finished(**record["finished"]), trial_id=self._trial_id), told

    def _make_folder(self) -> None:
        assert self._folder is not None
        self._check_links()
        self._folder.mkdir(parents=True, exist_ok=True)

    def _read(self, name: str) -> bytes:
        assert self._folder is not None
        self._check_links()
        return read_bounded(self._folder / name, MOST_BYTES, links=False)

    def _check_links(self) -> None:
        """OSError where the job's folder, or its study's folder, is a link: hpo makes no links there."""
        assert self._folder is not None
        for link in links_below(self._folder, self._folder.parents[1]):
            raise OSError(errno.ELOOP, f"{link} is a link", str(link))

    def refuse(self, error: OSError) -> None:
        """Say once that the disk refuses a write, and write no more unless asked to."""
        if not self._refused:
            reason = error.strerror or type(error).__name__
            self._warn(f"no checkpoints from now on: {reason} in {self._folder}; training goes on")
        self._refused = True


def _pack(header: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    text = json.dumps(header).encode()
    body = struct.pack("<Q", len(text)) + text + save_tensors(separate(tensors))
    return MAGIC + hashlib.sha256(body).digest() + body


def _unpack(payload: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON part and the tensors; ValueError unless every byte is as written."""
    start = len(MAGIC) + 32
    body = memoryview(payload)[start:]
    if payload[: len(MAGIC)] != MAGIC or payload[len(MAGIC) : start] != hashlib.sha256(body).digest():
        raise ValueError("torn or altered")
    (length,) = struct.unpack("<Q", body[:8])
    return json.loads(bytes(body[8 : 8 + length])), load_tensors(bytes(body[8 + length :]))


def separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, and no two sharing memory (tied weights do), as safetensors requires."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        address = value.untyped_storage().data_ptr()
        separate[name] = value.clone() if address in seen else value
        seen.add(address)
    return separate
