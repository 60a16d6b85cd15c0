"""What the environment decides, read once: where things are kept and how patient the service is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import UsageError

__all__ = ["RENAMED", "Settings"]

RENAMED = {"workers": "trainers", "workers_per_gpu": "trainers_per_gpu"}
"""Old name and name: of arguments of `hpo.run`, and so of options (--trainers) and variables (HPO_TRAINERS)."""


@dataclass(frozen=True)
class Settings:
    """Paths and patience. `Settings.read()` takes them from the environment; tests build their own.

    home:              HPO_HOME, default `.hpo` in the working folder: embedded database, checkpoints, journal, cache
    storage:           HPO_STORAGE, a PostgreSQL URL; None means the embedded server under `home`
    data_dir:          HPO_DATA_DIR, a folder in torchvision's layout that may be read-only; None means `home`/data
    checkpoint_dir:    HPO_CHECKPOINT_DIR, default `home`/checkpoints; put it on a shared folder for many hosts
    devices:           HPO_DEVICES, for example `cpu`, `cuda`, `cuda:0,cuda:1`; None means every visible GPU, else CPU
    lease_seconds:     HPO_LEASE_SECONDS, how long a silent worker keeps its trials
    patience_seconds:  HPO_PATIENCE_SECONDS, how long the database may be away before outcomes go to the journal
    """

    home: Path
    storage: str | None = None
    data_dir: Path | None = None
    checkpoint_dir: Path = Path()
    devices: str | None = None
    lease_seconds: float = 30.0
    patience_seconds: float = 300.0

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        home = Path(environ.get("HPO_HOME") or ".hpo").expanduser().absolute()
        data_dir = environ.get("HPO_DATA_DIR")
        checkpoints = environ.get("HPO_CHECKPOINT_DIR")
        return cls(
            home=home,
            storage=environ.get("HPO_STORAGE") or None,
            data_dir=Path(data_dir).expanduser().absolute() if data_dir else None,
            checkpoint_dir=Path(checkpoints).expanduser().absolute() if checkpoints else home / "checkpoints",
            devices=environ.get("HPO_DEVICES") or None,
            lease_seconds=_positive(environ, "HPO_LEASE_SECONDS", 30.0),
            patience_seconds=_positive(environ, "HPO_PATIENCE_SECONDS", 300.0),
        )


def _positive(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise UsageError(
            f"{name}={text!r} is not a number of seconds", next=f"unset {name} or set it to a positive number"
        )
    return value
