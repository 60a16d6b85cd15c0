"""What optuna-dashboard does not know about a study: what it found, what its objectives are called, and its report.

Nothing is written: the note of a study in which nobody wrote one, and the report among its artifacts, are made when a
browser asks for them.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine

from hpo.dashboard.note import note_text
from hpo.errors import HpoError
from hpo.insight import insight_of
from hpo.report import build_report
from hpo.report.figures import plots_for
from hpo.report.html import render_page
from hpo.report.plot import draw
from hpo.results.reading import read_study
from hpo.storage import queries

__all__ = ["Answering"]

KEPT_SECONDS = 30.0
"""How long an answer is shown again: a dashboard asks all the time, and many trials take seconds to read."""

KEPT = 16
"""Studies whose answers are kept."""

_DETAIL = re.compile(r"/+api/+studies/+(\d{1,10})/*")
_REPORT = re.compile(r"/+report/+(.+)")
_ARTIFACT = re.compile(r"/+artifacts/+(\d{1,10})/+([0-9a-fA-F-]{36})")

_PAGE_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:"
)
"""The page of a report is one file. It may run its own scripts (plotly compiles some), in an origin of its own: what
somebody wrote into a study could reach neither the dashboard nor anything else, even if it were not escaped."""


@dataclass(frozen=True)
class _Known:
    """note: as Markdown; names: of the objectives"""

    note: str
    names: tuple[str, ...]


class Answering:
    """`application` as a WSGI application that adds the answers of hpo.insight and serves /report/NAME.

    stops: whether a study of hpo can be stopped here (stopping.py), so that its note says where
    """

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
        *,
        stops: bool = False,
    ) -> None:
        self._application, self._engine, self._clock, self._stops = application, engine, clock, stops
        self._kept: dict[str, tuple[float, Any]] = {}
        self._busy = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if environ.get("REQUEST_METHOD") != "GET":
            return self._application(environ, start_response)
        if asked := _REPORT.fullmatch(path):
            # WSGI gives the bytes of a path as Latin-1.
            return self._report(asked[1].encode("latin-1", "replace").decode("utf-8", "replace"), start_response)
        if (asked := _ARTIFACT.fullmatch(path)) and asked[2] == _artifact_id(int(asked[1])):
            return self._artifact(int(asked[1]), start_response)
        if asked := _DETAIL.fullmatch(path):
            return self._detail(int(asked[1]), environ, start_response)
        return self._application(environ, start_response)

    def _report(self, name: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            page = self._once(f"report {name}", lambda: self._page(name))
        except HpoError as error:
            return _plain(start_response, "404 Not Found", str(error))
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page))),
                   ("Content-Security-Policy", _PAGE_POLICY), ("Refresh", "60")]  # fmt: skip
        start_response("200 OK", headers)
        return [page]

    def _artifact(self, study_id: int, start_response: Callable[..., Any]) -> Iterable[bytes]:
        name = self._name_of(study_id)
        if name is None:
            return _plain(start_response, "404 Not Found", f"study {study_id} is gone")
        return self._report(name, start_response)

    def _name_of(self, study_id: int) -> str | None:
        with self._engine.connect() as connection:
            return next((one.name for one in queries.list_studies(connection) if one.study_id == study_id), None)

    def _page(self, name: str) -> bytes:
        data = build_report(read_study(self._engine, name, history=True))
        return render_page(data, [draw(row, data) for row in plots_for(data)]).encode(errors="backslashreplace")

    def _detail(self, study_id: int, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """optuna-dashboard's answer about a study, with what it lacks."""
        said: list[Any] = []
        body = b"".join(self._application(environ, lambda *given: said.append(given)))
        status, headers, *more = said[0]
        if status.startswith("200"):
            body = self._completed(study_id, body)
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers, *more)
        return [body]

    def _completed(self, study_id: int, body: bytes) -> bytes:
        try:
            document = json.loads(body)
            known = self._once(f"note {study_id}", lambda: self._know(study_id, document))
        except Exception:  # noqa: BLE001 - an answer less, but the dashboard's own page is there
            return body
        if not document.get("note", {}).get("version"):
            document["note"] = {"version": 0, "body": known.note}
        if known.names:
            document.setdefault("objective_names", list(known.names))
        report = {"artifact_id": _artifact_id(study_id), "filename": "report.html", "mimetype": "text/html"}
        document["artifacts"] = [{**report, "encoding": ""}, *document.get("artifacts", ())]
        return json.dumps(document).encode()

    def _know(self, study_id: int, document: Mapping[str, Any]) -> _Known:
        name = self._name_of(study_id)
        if name is None:
            raise ValueError(f"study {study_id} is gone")
        view = read_study(self._engine, name)
        about = [one["value"] for one in document.get("user_attrs", ()) if one.get("key") == "description"]
        quoted = quote(name, safe="")
        stop = f"/stop/{quoted}" if self._stops and view.declaration is not None else ""
        told = str(about[0]) if about else ""
        note = note_text(view, insight_of(view), about=told, link=f"/report/{quoted}", stop=stop)
        return _Known(note, view.objectives if view.declaration is not None else ())

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        """What was made of this in the last seconds, else made now; one at a time, since each takes a processor."""
        with self._busy:
            made, found = self._kept.get(what, (float("-inf"), None))
            if self._clock() - made > KEPT_SECONDS:
                found = make()
                self._kept[what] = (self._clock(), found)
                while len(self._kept) > KEPT:
                    del self._kept[min(self._kept, key=lambda key: self._kept[key][0])]
            return found


def _artifact_id(study_id: int) -> str:
    """Of the report among the artifacts of a study: always the same, as a browser keeps what it was told."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"hpo:report:{study_id}"))


def _plain(start_response: Callable[..., Any], status: str, text: str) -> Iterable[bytes]:
    body = f"{text}\n".encode(errors="backslashreplace")
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
