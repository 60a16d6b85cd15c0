"""A dashboard that only shows hides the buttons that the guard would refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["HidesWriting"]

_HIDDEN = (
    *(f'[aria-label="{name}"]' for name in ("delete study", "rename study", "delete artifact", "skip trial")),
    'button:has([data-testid="AddBoxIcon"])',  # "Create"
    'button:has([data-testid="UploadFileIcon"])',  # an artifact
    'button:has([data-testid="EditIcon"])',  # a note
)
"""As optuna-dashboard names them. What it names otherwise some day is shown and refused, as it was."""

_STYLE = f"<style>{', '.join(_HIDDEN)} {{ display: none !important; }}</style></head>".encode()


class HidesWriting:
    """`application` as a WSGI application whose pages have a style that hides what changes anything."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if environ.get("REQUEST_METHOD") != "GET" or not path.lstrip("/").startswith("dashboard"):
            return self._application(environ, start_response)
        # A browser that has the page may not keep the one of a dashboard that could write.
        for condition in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"):
            environ.pop(condition, None)
        said: list[Any] = []
        body = b"".join(self._application(environ, lambda *given: said.append(given)))
        status, headers, *more = said[0]
        if status.startswith("200"):
            body = body.replace(b"</head>", _STYLE, 1)
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers, *more)
        return [body]
