"""The guard between a browser and optuna-dashboard, which itself has neither a login nor a read-only mode.

A request has to pass four questions, in this order. Each is one function, and each refusal says what to do about it.

    without a login: is it for this machine, by name?   else 403   a web site whose name was pointed at 127.0.0.1
    is the user allowed in?                             else 401, or 429 after too many tries (attempts.py)
    does it only read, where only reading is allowed?   else 403
    if it changes something: does our own page ask?     else 403   another site's form or script in the user's browser
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hpo.dashboard.attempts import TooManyAttempts
from hpo.dashboard.login import Login

__all__ = ["Guard", "Policy"]

Application = Callable[..., Iterable[bytes]]

READING = ("GET", "HEAD", "OPTIONS")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
LOG_IN = (
    "This dashboard of hpo asks for a login, and your browser sent none, or a wrong one.\n\n"
    "Load this page again: the browser then asks for the user name, which whoever started the dashboard gave with\n"
    "--auth, and the password, which they set in HPO_DASHBOARD_PASSWORD or a file. A script sends both as HTTP Basic\n"
    "authentication: curl --user NAME ADDRESS"
)
"""What who cancels the browser's question sees. It names neither user nor study."""

_PROTECTIONS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # The dashboard's page has its own policy. Everything else that a browser could open as a page is a file that
    # somebody attached to a trial, served from our address: whatever it is, it must not run scripts.
    ("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"),
)
_DROPPED = ("access-control-allow-origin",)  # with it optuna-dashboard lets every web site read its artifacts


@dataclass(frozen=True)
class Policy:
    """Who may do what.

    login:     required of every request; None trusts everybody who reaches the port
    writable:  whether studies and trials may be changed and deleted
    names:     the host names by which it may be called where there is no login
    """

    login: Login | None
    writable: bool
    names: tuple[str, ...] = LOOPBACK_NAMES


@dataclass(frozen=True)
class Refusal:
    status: str
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


class Guard:
    """`application` behind `policy`, as a WSGI application."""

    def __init__(self, application: Application, policy: Policy) -> None:
        self._application = application
        self._policy = policy

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refusal = refuse(environ, self._policy)
        if refusal is not None:
            body = f"{refusal.reason}\n".encode()
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            start_response(refusal.status, [*headers, *_PROTECTIONS, *refusal.headers])
            return [body]
        environ.pop("HTTP_AUTHORIZATION", None)  # the application needs no password
        environ.setdefault("HTTP_ACCEPT_ENCODING", "")  # without it optuna-dashboard's static files raise an error

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            kept = [(name, value) for name, value in headers if name.lower() not in _DROPPED]
            given = {name.lower() for name, _ in kept}
            added = [(name, value) for name, value in _PROTECTIONS if name.lower() not in given]
            return start_response(status, [*kept, *added], exc_info)

        return self._application(environ, start)


def refuse(environ: Mapping[str, Any], policy: Policy) -> Refusal | None:
    """The answer that refuses this request; None if it may pass."""
    return (
        _other_name(environ, policy)
        or _stranger(environ, policy)
        or _only_reading(environ, policy)
        or _other_site(environ)
    )


def _other_name(environ: Mapping[str, Any], policy: Policy) -> Refusal | None:
    host = _host(str(environ.get("HTTP_HOST", "")))
    if policy.login is not None or host in policy.names:
        return None
    return Refusal("403 Forbidden", f"this dashboard answers to {policy.names[0]} only")


def _stranger(environ: Mapping[str, Any], policy: Policy) -> Refusal | None:
    if policy.login is None:
        return None
    try:
        if policy.login.admits(str(environ.get("HTTP_AUTHORIZATION", "")), str(environ.get("REMOTE_ADDR", ""))):
            return None
    except TooManyAttempts as refusal:
        later = str(math.ceil(refusal.seconds))
        reason = f"too many failed logins; try again in {later} s"
        return Refusal("429 Too Many Requests", reason, (("Retry-After", later),))
    challenge = ("WWW-Authenticate", 'Basic realm="hpo dashboard", charset="UTF-8"')
    return Refusal("401 Unauthorized", LOG_IN, (challenge,))


def _only_reading(environ: Mapping[str, Any], policy: Policy) -> Refusal | None:
    if policy.writable or environ.get("REQUEST_METHOD") in READING:
        return None
    return Refusal("403 Forbidden", "this dashboard is read-only; start it with --writable to change studies")


def _other_site(environ: Mapping[str, Any]) -> Refusal | None:
    """Browsers say where a request comes from; a script that does not say sends its password on purpose."""
    if environ.get("REQUEST_METHOD") in READING:
        return None
    refusal = Refusal("403 Forbidden", "another web site may not change anything here")
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") != "same-origin":
        return refusal
    asked_by = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER")
    # Name and port only: behind a proxy with TLS the browser says https where we are called by http.
    if asked_by and urlsplit(str(asked_by)).netloc.lower() != str(environ.get("HTTP_HOST", "")).lower():
        return refusal
    # Another site's form can send text, but not JSON. The dashboard sends only JSON.
    sent = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
    if environ.get("CONTENT_LENGTH", "0") not in ("", "0") and sent != "application/json":
        return Refusal("415 Unsupported Media Type", "send application/json")
    return None


def _host(header: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
