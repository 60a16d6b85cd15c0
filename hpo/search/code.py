"""Which code a worker runs: what its trials record, and a digest that must be the same on every host at work."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

import hpo.data
import hpo.models
from hpo.data import Torch
from hpo.errors import CodeMismatch
from hpo.results.reading import open_for_reading
from hpo.settings import Settings
from hpo.storage import queries, tables
from hpo.storage.trial_record import record_of
from hpo.study.study import Study

__all__ = [
    "check_finished_code",
    "check_same_code",
    "check_stored_code",
    "code_digest",
    "code_facts",
    "files_of",
    "source_digests",
]

_TRAINING = ("hpo/training/", "hpo/models/", "hpo/data/")
"""The files of ours that decide what a trial's result is."""
_INSTALLED = ("hpo", "torch")
"""Packages whose files are compared by other means: hpo's all at once, torch by its version."""


def code_facts() -> dict[str, Any]:
    """What trials record about the code they ran: its git commit and package versions.

    The commit is that of the working folder; HPO_COMMIT gives it where there is no repository, as in an image.
    """
    packages = {"python": platform.python_version()}
    for name in ("hpo", "optuna", "torch", "torchvision"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {"git_commit": os.environ.get("HPO_COMMIT") or _git_commit(Path.cwd()), "packages": packages}


def code_digest(study: Study) -> str:
    """Sixteen hexadecimal digits over hpo's source files, except its studies, and the files that the study's rows name.

    Only the content of the files counts, not their folder: an image and a checkout of one commit have the same digest.
    """
    text = "".join(f"{name}\0{digest}\0" for name, digest in source_digests(study).items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source_digests(study: Study) -> dict[str, str]:
    """What `code_digest` is made of, the files of code and the user's own data: name -> sixteen hexadecimal digits."""
    code = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in _sources(study)}
    return code | {name: digest[:16] for name, digest in _data(study).items()}


def check_same_code(
    connection: Connection, study: Study, study_id: int, code: str, commit: str | None, live_seconds: float
) -> None:
    """Raise CodeMismatch when a worker that was seen in the last `live_seconds` runs other code than `code`."""
    for worker in queries.at_work(connection, study_id, live_seconds):
        if worker.code is not None and worker.code != code:
            there, here = worker.commit or "unknown commit", commit or "unknown commit"
            raise CodeMismatch(
                f'another worker trains study "{study.name}" with other code',
                evidence=[f"{worker.host}   {there}   code {worker.code}", f"this host   {here}   code {code}"],
                next="check out the same commit on both (+ marks changed files), or stop the other worker and wait "
                f"{live_seconds:.0f} s",
            )


def check_finished_code(
    connection: Connection,
    study: Study,
    study_id: int,
    trials: Iterable[FrozenTrial],
    *,
    accepted: bool,
    checksum: str = "",
) -> str:
    """A sentence when the last trial with a result was trained by other code than this; "" when it is the same.

    Raises CodeMismatch when files of the user's own are among what changed, unless that is `accepted`. Another version
    of hpo is not refused: its trials mean the same. Failed trials do not count, or no bug could ever be fixed.

    checksum: of the train split as its loader gives it now; of torch Datasets, which nobody reads to the end, another
              one is told and not refused
    """
    results = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    last = max(results, key=lambda trial: trial.datetime_complete or datetime.min, default=None)
    if last is None or last.datetime_complete is None:
        return ""
    before = files_of(connection, study_id, record_of(last).get("worker"))
    now = source_digests(study)
    changed = [name for name in before.keys() & now.keys() if before[name] != now[name]]
    own = sorted(name for name in changed if not name.startswith("hpo/"))
    ours = sorted(name for name in changed if name.startswith(_TRAINING))
    if own and not accepted:
        raise CodeMismatch(
            f'study "{study.name}" was trained with other {_kind(study, own)} ({_finished(len(results))})',
            evidence=[f"{_file_of(study, name)}   {before[name]}   ->   {now[name]}" for name in own],
            next=f"give the study a new name (--name), restore the file{'s' if len(own) > 1 else ''} above, or add "
            "--changed-code: the study then mixes old and new trials",
        )
    before_data, known = record_of(last).get("data_checksum"), accepted or bool(own)
    said = _changed_data(study, before_data, checksum, len(results), accepted=known)
    if own:
        return f"{', '.join(own)} changed since the last finished trial: the study mixes old and new trials"
    if said:
        return said
    if ours:
        shown = ", ".join(ours[:3]) + (f" and {len(ours) - 3} more" if len(ours) > 3 else "")
        return f"note: hpo's own code changed since the last finished trial ({shown})"
    return ""


def check_stored_code(study: Study, settings: Settings, *, accepted: bool, checksum: str = "") -> str:
    """As `check_finished_code` for what the database at hand (Settings.has_database) holds of `study`, "" for nothing.

    Raises StorageError where it does not answer.
    """
    engine = open_for_reading(None, settings)
    try:
        with engine.connect() as connection:
            found = queries.find_study(connection, study.name)
            if found is None or not sqlalchemy.inspect(connection).has_table(tables.studies.name):
                return ""
            trials = queries.read_changes(connection, found.study_id)
            return check_finished_code(connection, study, found.study_id, trials, accepted=accepted, checksum=checksum)
    finally:
        engine.dispose()


def _changed_data(study: Study, before: str | None, now: str, finished: int, *, accepted: bool) -> str:
    """A sentence where the loader gives other samples than to the last finished trial; CodeMismatch unless accepted."""
    if not before or not now or before == now:
        return ""
    name = study.dataset_row.name
    if not accepted and not isinstance(study.dataset_row, Torch):
        raise CodeMismatch(
            f'study "{study.name}" was trained with other data ({_finished(finished)})',
            evidence=[f"train split of {name}   {before[:16]}   ->   {now[:16]}"],
            next="give the study a new name (--name), restore what the loader reads, or add --changed-code: the study "
            "then mixes old and new trials",
        )
    return f"the train split of {name} changed since the last finished trial: the study mixes old and new trials"


def files_of(connection: Connection, study_id: int, worker_id: object) -> Mapping[str, str]:
    """The files that a worker of the study ran, name -> digest; empty where that is not known."""
    for worker in queries.list_workers(connection, study_id):
        if worker.worker_id == worker_id and worker.code is not None:
            return queries.read_sources(connection, worker.code) or {}
    return {}


def _sources(study: Study) -> Iterator[tuple[str, Path]]:
    ours = {
        f"{package.__name__.replace('.', '/')}/{path.relative_to(folder).as_posix()}": path
        for package in (hpo, hpo.models, hpo.data)
        for folder in [Path(str(package.__file__)).parent]
        for path in folder.rglob("*.py")
    }
    yield from sorted((name, path) for name, path in ours.items() if not name.startswith("hpo/studies/"))
    if study.own is not None:
        yield from ((Path(path).name, Path(path)) for path in _own_file(study.own.place))
        return
    if study.program is not None:
        yield from ((path.name, path) for path in study.program.files)
        return
    references = {study.model_row.builder, study.dataset_row.loader, *(part.reference for part in study.parts)}
    for place in sorted({reference.rpartition(":")[0] for reference in references}):
        if place.partition(".")[0] not in _INSTALLED:
            yield from ((Path(place).name, path) for path in _own_file(place))


def _data(study: Study) -> Mapping[str, str]:
    """The study's own data by name, with the digest of each; empty where the data set's loader is the only source."""
    return {} if study.brings_training else study.dataset_row.sources()


def _finished(count: int) -> str:
    return f"{count} finished trial{'s' if count != 1 else ''}"


def _kind(study: Study, changed: Sequence[str]) -> str:
    """What is among the `changed` names: code, data or both."""
    data = _data(study).keys() & set(changed)
    return "code" if not data else "data" if len(data) == len(changed) else "code and data"


def _file_of(study: Study, name: str) -> str:
    """The file that `_sources` gave this name, or the name of the data."""
    return next((str(path) for other, path in _sources(study) if other == name), name)


def _own_file(place: str) -> list[Path]:
    return [Path(place)] if place.endswith(".py") else _module_file(place)


def _module_file(module: str) -> list[Path]:
    """The file of a user's own module; None if it cannot be found without running it."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return []
    path = Path(spec.origin) if spec and spec.origin else None
    return [path] if path is not None and path.is_file() else []


def _git_commit(folder: Path) -> str | None:
    """The commit of `folder`, with `+` when files differ from it; None outside a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
