"""The winner's files as Optuna artifacts, so that optuna-dashboard offers them for download."""

from __future__ import annotations

import hashlib
import mimetypes
import uuid
from collections.abc import Sequence
from pathlib import Path

from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.trial import FrozenTrial
from sqlalchemy.engine import Engine

from hpo.settings import Settings
from hpo.storage.evaluations import add_artifact, read_artifacts
from hpo.storage.optuna_internals import trial_id_of

__all__ = ["artifact_store", "attach"]


def artifact_store(settings: Settings) -> FileSystemArtifactStore:
    """The store under `settings.home`/artifacts, where the dashboard looks too."""
    folder = settings.home / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(str(folder))


def attach(files: Sequence[Path], trial: FrozenTrial | None, study_id: int, engine: Engine, settings: Settings) -> int:
    """Attach `files` to `trial`, or to the study where the winner has none; the number of new artifacts.

    A file that is already attached with the same content is left alone. A running dashboard reads a finished trial only
    once, so it shows new files after a restart.
    """
    store = artifact_store(settings)
    trial_id = None if trial is None else trial_id_of(trial)
    with engine.connect() as connection:
        attached = read_artifacts(connection, study_id, trial_id)
    there = {(name, _digest(settings.home / "artifacts" / artifact_id)) for artifact_id, name in attached}
    new = [path for path in files if (path.name, _digest(path)) not in there]
    for path in new:
        kind, encoding = mimetypes.guess_type(path.name)
        meta = ArtifactMeta(str(uuid.uuid4()), path.name, kind or "application/octet-stream", encoding)
        with path.open("rb") as file:
            store.write(meta.artifact_id, file)
        with engine.begin() as connection:
            add_artifact(connection, study_id, trial_id, meta)
    return len(new)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
