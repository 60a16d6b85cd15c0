"""Which files a digest of source code stands for, so that a later look can name the ones that changed."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, select, text

from hpo.decoding import decoded_or
from hpo.storage.tables import sources

__all__ = ["keep_sources", "read_sources"]


def keep_sources(connection: Connection, code: str, files: Mapping[str, str]) -> None:
    """Record what `code` is the digest of: file name -> digest. Once for every worker that runs the same code."""
    connection.execute(
        text("INSERT INTO hpo_sources (code, files) VALUES (:code, :files) ON CONFLICT (code) DO NOTHING"),
        {"code": code, "files": json.dumps(files)},
    )


def read_sources(connection: Connection, code: str) -> dict[str, str] | None:
    """The files of `code`; None if nobody recorded them."""
    found = connection.execute(select(sources.c.files).where(sources.c.code == code)).scalar_one_or_none()
    files = None if found is None else decoded_or(found, {})
    return None if files is None else {str(name): str(digest) for name, digest in files.items()}
