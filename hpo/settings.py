"""Settings from environment variables, read once: where files and data are, and how long hpo waits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpo.duration import parse_duration
from hpo.errors import UsageError
from hpo.ownership import check_home

__all__ = ["RENAMED", "VARIABLES", "Settings", "Variable", "refused_variables"]

RENAMED = {"workers": "trainers", "workers_per_gpu": "trainers_per_gpu"}
"""Old name and new name of arguments of `hpo.run`, and so of options (--trainers) and variables (HPO_TRAINERS)."""


@dataclass(frozen=True)
class Variable:
    """An environment variable that hpo reads, its default, and its purpose in Markdown."""

    name: str
    default: str
    purpose: str


VARIABLES = (
    Variable("HPO_STORAGE", "the server under `HPO_HOME`", "URL of the database"),
    Variable("HPO_STORAGE_PASSWORD_FILE", "none", "file that holds the password, for a URL without one"),
    Variable("HPO_HOME", "`.hpo`", "folder of the database, checkpoints and downloaded data"),
    Variable("HPO_DATA_DIR", "`HPO_HOME/data`", "folder of data sets in torchvision's layout; may be read-only"),
    Variable(
        "HPO_CHECKPOINT_DIR",
        "`HPO_HOME/checkpoints`",
        "folder of checkpoints; if hosts share it, one can resume another's trial",
    ),
    Variable(
        "HPO_CHECKPOINT_BYTES", "20e9", "how much the checkpoints of paused trials may take on disk (docs/search.md)"
    ),
    Variable("HPO_DEVICES", "every GPU, else the CPU", "devices to train on: `cpu`, `cuda` or `cuda:0,cuda:1`"),
    Variable("HPO_TRAINERS", "one per core", "number of trainers on the CPU"),
    Variable("HPO_TRAINERS_PER_GPU", "1", "number of trainers that share each GPU; `hpo run` also takes `auto`"),
    Variable("HPO_DEVICES_PER_TRIAL", "the study's, else 1", "number of devices that train one trial together"),
    Variable("HPO_TIMEOUT", "none", "time budget of `hpo run` and `hpo db init --study` without `--timeout`"),
    Variable("HPO_TRIALS", "none", "number of trials of `hpo run` and `hpo db init --study` without `--trials`"),
    Variable("HPO_NOTIFY", "none", "address for `hpo run --notify`, or several; no process list shows it here"),
    Variable("HPO_COMMIT", "git's", "commit that trials record where there is no repository, as in an image"),
    Variable("HPO_HEARTBEAT", "none", "file that a running search touches, for a container's probe"),
    Variable("HPO_DASHBOARD_PASSWORD", "none", "password for `hpo dashboard --auth`"),
    Variable("HPO_DASHBOARD_PASSWORD_FILE", "none", "file that holds that password"),
    Variable("HPO_LEASE_SECONDS", "30", "how long a silent worker keeps its trials"),
    Variable(
        "HPO_PATIENCE_SECONDS",
        "300",
        "how long a run waits for the database before it writes results to a journal and ends with 4",
    ),
    Variable("HPO_RANK_SECONDS", "300", "how long the devices of one trial wait for one of them that hangs"),
    Variable(
        "HPO_NATIVE",
        "1",
        "0 trains with torch's operators alone: no C is compiled or loaded, and it is slower; `unmeasured` takes the "
        "kernels as hpo's defaults say, not as measured on this machine",
    ),
)
"""Every environment variable that hpo reads, in the order of README.md and `hpo --help`."""


@dataclass(frozen=True)
class Settings:
    """Paths and waiting times. `Settings.read()` takes them from the environment; tests build their own.

    `read` raises UsageError for a value that makes no sense, and as root StorageError for somebody else's home.

    home:              HPO_HOME, default `.hpo` in the working folder: embedded database, checkpoints, journal, cache
    storage:           HPO_STORAGE, a PostgreSQL URL; None means the embedded server under `home`
    data_dir:          HPO_DATA_DIR, a folder in torchvision's layout that may be read-only; None means `home`/data
    checkpoint_dir:    HPO_CHECKPOINT_DIR, default `home`/checkpoints; put it on a shared folder for many hosts
    checkpoint_bytes:  HPO_CHECKPOINT_BYTES, how much the checkpoints of a study's paused trials may take
    devices:           HPO_DEVICES, for example `cpu`, `cuda`, `cuda:0,cuda:1`; None means every visible GPU, else CPU
    lease_seconds:     HPO_LEASE_SECONDS, how long a silent worker keeps its trials
    patience_seconds:  HPO_PATIENCE_SECONDS, how long the database may be down before results go to the journal
    rank_seconds:      HPO_RANK_SECONDS, how long the devices of one trial wait for each other
    native:            HPO_NATIVE, 0 to train without compiled C kernels; torch's own operators do the same, more slowly
    measured:          whether what is fast is measured on this machine; not with HPO_NATIVE=unmeasured
    """

    home: Path
    storage: str | None = None
    data_dir: Path | None = None
    checkpoint_dir: Path = Path()
    checkpoint_bytes: float = 20e9
    devices: str | None = None
    lease_seconds: float = 30.0
    patience_seconds: float = 300.0
    rank_seconds: float = 300.0
    native: bool = True
    measured: bool = True

    @property
    def has_database(self) -> bool:
        """Whether one is at hand, so that it is worth while to import what reads it: a URL, or what a run left."""
        return self.storage is not None or (self.home / "postgres").is_dir()

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        home = Path(environ.get("HPO_HOME") or ".hpo").expanduser().absolute()
        if os.geteuid() == 0:  # others may share a home, but root may not: it has everything to lose
            check_home(home)
        data_dir = environ.get("HPO_DATA_DIR")
        checkpoints = environ.get("HPO_CHECKPOINT_DIR")
        return cls(
            home=home,
            storage=environ.get("HPO_STORAGE") or None,
            data_dir=Path(data_dir).expanduser().absolute() if data_dir else None,
            checkpoint_dir=Path(checkpoints).expanduser().absolute() if checkpoints else home / "checkpoints",
            checkpoint_bytes=_positive(environ, "HPO_CHECKPOINT_BYTES", 20e9, "bytes", 1e18),
            devices=environ.get("HPO_DEVICES") or None,
            lease_seconds=_positive(environ, "HPO_LEASE_SECONDS", 30.0),
            patience_seconds=_positive(environ, "HPO_PATIENCE_SECONDS", 300.0),
            rank_seconds=_positive(environ, "HPO_RANK_SECONDS", 300.0),
            **_native(environ.get("HPO_NATIVE") or "1"),
        )


def refused_variables(environ: Mapping[str, str]) -> list[str]:
    """`HPO_TRIALS='0' is not a whole number from 1 to ...`: the variables that `hpo run` refuses, as it does options.

    Settings.read refuses the others.
    """
    found = []
    for name, most in (
        ("HPO_TRAINERS", 1024),
        ("HPO_TRAINERS_PER_GPU", 64),
        ("HPO_DEVICES_PER_TRIAL", 1024),
        ("HPO_TRIALS", 2**31 - 1),
    ):
        text = environ.get(name, "")
        may_be_auto = name == "HPO_TRAINERS_PER_GPU" and text.strip().lower() == "auto"
        if text and not may_be_auto and not (text.strip().isascii() and _is_whole(text, most)):
            found.append(f"{name}={text[:40]!r} is not a whole number from 1 to {most}")
    if timeout := environ.get("HPO_TIMEOUT", ""):
        try:
            parse_duration(timeout)
        except UsageError as error:
            found.append(f"HPO_TIMEOUT: {error.fact}")
    return found


def _is_whole(text: str, most: int) -> bool:
    try:
        return 1 <= int(text) <= most
    except ValueError:
        return False


def _positive(environ: Mapping[str, str], name: str, default: float, unit: str = "seconds", most: float = 1e9) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < most:
        raise UsageError(
            f"{name}={text!r} is not a number of {unit}", next=f"unset {name} or set it to a positive number"
        )
    return value


def _native(text: str) -> dict[str, bool]:
    if text not in ("0", "1", "unmeasured"):
        raise UsageError(
            f"HPO_NATIVE={text!r} is neither 0 nor 1 nor unmeasured", next="unset HPO_NATIVE or set it to 0"
        )
    return {"native": text != "0", "measured": text == "1"}
