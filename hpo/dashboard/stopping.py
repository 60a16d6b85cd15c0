"""A study stopped and resumed from a browser: /stop/NAME has a button, which asks /api/hpo/stop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from markupsafe import Markup
from sqlalchemy import Engine

from hpo.dashboard.ours import is_ours
from hpo.decoding import decoded_mapping
from hpo.printable import one_line
from hpo.storage import queries

__all__ = ["StopsStudies"]

_PAGE = re.compile(r"/+stop/+(.+)")
_MOST_BYTES = 4096

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'"
)

_HTML = Markup(
    """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{name} · {state}</title><style>
body {{ max-width: 640px; margin: 40px auto; padding: 0 20px; font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 24px; margin: 0 0 8px; overflow-wrap: anywhere; }}
button {{ font: inherit; padding: 8px 18px; border-radius: 8px; cursor: pointer; }}
</style></head><body><h1>{name}</h1><p>{about}</p>
<p><button type="button" id="do">{action}</button></p><p role="status" id="said"></p>
<p><a href="/dashboard">All studies</a></p><script>
document.getElementById("do").addEventListener("click", async () => {{
  const answer = await fetch("/api/hpo/stop", {{ method: "POST", headers: {{ "Content-Type": "application/json" }},
    body: JSON.stringify({{ study: {study}, stop: {stop} }}) }});
  if (answer.ok) location.reload(); else document.getElementById("said").textContent = await answer.text();
}});</script></body></html>"""
)

_RUNNING = (
    "Stopping ends the study's time now: every run puts its trials down with their checkpoints and ends within "
    "seconds. Nothing is lost."
)
_STOPPED = (
    "The study is stopped: no trial is handed out. Resuming gives back the time that was left. A run that has ended "
    "does not come back: start one with hpo run, and it goes on where the trials stopped."
)


class StopsStudies:
    """`application` as a WSGI application that also stops and resumes hpo's studies. The guard decides who may."""

    def __init__(self, application: Callable[..., Iterable[bytes]], engine: Engine) -> None:
        self._application, self._engine = application, engine

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, method = str(environ.get("PATH_INFO", "")), environ.get("REQUEST_METHOD")
        if method == "GET" and (asked := _PAGE.fullmatch(path)):
            # WSGI gives the bytes of a path as Latin-1.
            return self._page(asked[1].encode("latin-1", "replace").decode("utf-8", "replace"), start_response)
        if method == "POST" and path == "/api/hpo/stop":
            return self._stop(environ, start_response)
        return self._application(environ, start_response)

    def _page(self, name: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._engine.connect() as connection:
            found = queries.find_study(connection, name)
            if found is None or not is_ours(connection, found.study_id):
                return _answer(start_response, "404 Not Found", f'no study of hpo is called "{one_line(name)}"')
            stopped = queries.is_stopped(connection, found.study_id)
        page = _HTML.format(
            name=one_line(name), state="stopped" if stopped else "running or ready", study=found.study_id,
            about=_STOPPED if stopped else _RUNNING, stop="false" if stopped else "true",
            action="Resume this study" if stopped else "Stop this study",
        )  # fmt: skip
        return _answer(start_response, "200 OK", page, "text/html", (("Content-Security-Policy", _POLICY),))

    def _stop(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = _read(environ)
        if asked is None:
            return _answer(start_response, "400 Bad Request", 'send {"study": ID, "stop": true or false}')
        study_id, stop = asked
        with self._engine.begin() as connection:
            if not is_ours(connection, study_id):
                return _answer(start_response, "404 Not Found", "only a study of hpo can be stopped")
            change = queries.stop_study if stop else queries.resume_study
            change(connection, study_id)
        return _answer(start_response, "200 OK", "stopped" if stop else "resumed")


def _read(environ: dict[str, Any]) -> tuple[int, bool] | None:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        document = decoded_mapping(environ["wsgi.input"].read(length).decode() if 0 < length <= _MOST_BYTES else "")
    except ValueError:  # of JSON, of the length, or no UTF-8
        return None
    study_id, stop = document.get("study"), document.get("stop")
    if type(study_id) is not int or not 0 < study_id < 2**31 or type(stop) is not bool:
        return None
    return study_id, stop


def _answer(
    start_response: Callable[..., Any],
    status: str,
    text: str,
    kind: str = "text/plain",
    more: tuple[tuple[str, str], ...] = (),
) -> Iterable[bytes]:
    body = f"{text}\n".encode(errors="backslashreplace")
    length = ("Content-Length", str(len(body)))
    start_response(status, [("Content-Type", f"{kind}; charset=utf-8"), length, *more])
    return [body]
