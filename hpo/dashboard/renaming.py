"""hpo's own studies keep their names: optuna-dashboard renames by copying, which loses what hpo knows about a study."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Engine

from hpo.dashboard.ours import is_ours

__all__ = ["KeepsNames"]

_RENAME = re.compile(r"/api/studies/(\d{1,10})/rename/*")


class KeepsNames:
    """`application` as a WSGI application that refuses to rename hpo's studies. Plain Optuna's may be renamed."""

    def __init__(self, application: Callable[..., Iterable[bytes]], engine: Engine) -> None:
        self._application, self._engine = application, engine

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = _RENAME.fullmatch(str(environ.get("PATH_INFO", "")))
        if asked is None or environ.get("REQUEST_METHOD") != "POST" or not self._is_ours(int(asked[1])):
            return self._application(environ, start_response)
        reason = (
            "a study of hpo keeps its name: renamed here it would be a copy, without its budget, its epochs and its "
            "declaration. `hpo run --name NEW` searches under another name"
        )
        body = json.dumps({"reason": reason}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("400 Bad Request", headers)
        return [body]

    def _is_ours(self, study_id: int) -> bool:
        with self._engine.connect() as connection:
            return is_ours(connection, study_id)
