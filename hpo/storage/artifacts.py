"""The winner's files as Optuna artifacts, so that optuna-dashboard offers them for download."""

from __future__ import annotations

import hashlib
import mimetypes
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.engine import Engine

from hpo.settings import Settings
from hpo.storage.evaluations import add_trial_artifact
from hpo.storage.optuna_internals import trial_id_of

__all__ = ["artifact_store", "attach"]


def artifact_store(settings: Settings) -> FileSystemArtifactStore:
    """The store under `settings.home`/artifacts, where the dashboard looks too."""
    folder = settings.home / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(str(folder))


def attach(
    files: Sequence[Path], trial: FrozenTrial | None, study_name: str, engine: Engine, settings: Settings
) -> int:
    """Attach `files` to `trial`, or to the study where the winner has none; the number of new artifacts.

    A file that is already attached with the same content is left alone. A dashboard that runs already shows those of
    a finished trial when it is started again: it reads such trials once.
    """
    store = artifact_store(settings)
    storage = RDBStorage(
        engine.url.render_as_string(hide_password=False),
        engine_kwargs={"pool": engine.pool},
        skip_table_creation=True,
    )
    target: Any = trial if trial is not None else optuna.load_study(study_name=study_name, storage=storage)
    there = {
        (meta.filename, _digest(settings.home / "artifacts" / meta.artifact_id))
        for meta in get_all_artifact_meta(target, storage=storage)
    }
    new = [path for path in files if (path.name, _digest(path)) not in there]
    for path in new:
        if trial is None:
            upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=target, storage=storage)
            continue
        kind, encoding = mimetypes.guess_type(path.name)
        meta = ArtifactMeta(str(uuid.uuid4()), path.name, kind or "application/octet-stream", encoding)
        with path.open("rb") as file:
            store.write(meta.artifact_id, file)
        with engine.begin() as connection:
            add_trial_artifact(connection, trial_id_of(trial), meta)
    return len(new)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
