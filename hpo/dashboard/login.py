"""Who may use the dashboard: one user and one password, which comes from a file or the environment, never from argv."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from hpo.dashboard.attempts import Attempts, TooManyAttempts
from hpo.errors import UsageError

__all__ = ["Login", "read_login"]

log = logging.getLogger("hpo")
MOST_WRONG = 1024
PASSWORD, PASSWORD_FILE = "HPO_DASHBOARD_PASSWORD", "HPO_DASHBOARD_PASSWORD_FILE"


class Login:
    """HTTP Basic authentication. Keeps a salted scrypt hash of user and password, not the password."""

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self._salt = secrets.token_bytes(16)
        self._hash = self._slow(f"{user}:{password}".encode())
        # A browser sends its password with every request. After scrypt has decided, a keyed digest recognises right and
        # wrong passwords in microseconds. A new one costs a scrypt, as often as `attempts` allows: one at a time, and
        # one in the queue, so that two of the server's four threads are always free for users known already.
        self._key = secrets.token_bytes(32)
        self._admitted = b""
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._queue = threading.Semaphore(2)
        self._one_at_a_time = threading.Lock()
        self.attempts = Attempts()

    def admits(self, authorization: str, address: str = "") -> bool:
        """Whether the value of an Authorization header names this user and password; a wrong one is logged.

        address: where it comes from. Raises TooManyAttempts if this address, or all together, failed too often lately.
        """
        given = _credentials(authorization)
        if given is None:
            return False
        if self.recognises(authorization):
            return True
        if not self._queue.acquire(blocking=False):
            raise TooManyAttempts(1.0, first=False)
        try:
            with self._one_at_a_time:
                return self._try(given, address)
        finally:
            self._queue.release()

    def recognises(self, authorization: str) -> bool:
        """Whether this header has been accepted before. This takes microseconds."""
        given = _credentials(authorization)
        return given is not None and hmac.compare_digest(self._quick(given), self._admitted)

    def _try(self, given: bytes, address: str) -> bool:
        quick = self._quick(given)
        if quick in self._wrong or hmac.compare_digest(
            quick, self._admitted
        ):  # the request before this one had the same
            return quick not in self._wrong
        try:
            self.attempts.spend(address)
        except TooManyAttempts as refusal:
            if refusal.first:
                log.warning("too many failed logins: refused from %s for now", address or "everywhere")
            raise
        if hmac.compare_digest(self._slow(given), self._hash):
            self._admitted = quick
            self.attempts.succeeded(address)
            return True
        user = given.partition(b":")[0].decode(errors="replace")
        log.warning("failed login as %s from %s", ascii(user[:50]), address or "an unknown address")
        self._wrong[quick] = None
        if len(self._wrong) > MOST_WRONG:
            self._wrong.popitem(last=False)
        return False

    def _quick(self, given: bytes) -> bytes:
        return hmac.digest(self._key, given, "sha256")

    def _slow(self, credentials: bytes) -> bytes:
        # 16 MB and some 50 ms; the parameters of RFC 7914's interactive example.
        return hashlib.scrypt(credentials, salt=self._salt, n=2**14, r=8, p=1, maxmem=32 << 20)


def read_login(user: str, password_file: Path | None, environ: Mapping[str, str]) -> Login:
    """The login of `user`. The password comes from `password_file`, else HPO_DASHBOARD_PASSWORD, else the file that
    HPO_DASHBOARD_PASSWORD_FILE names. A newline at the end of a file does not count.

    Raises UsageError for a user name that Basic authentication cannot carry, and for a missing or empty password.
    """
    if not user or ":" in user or not user.isprintable():
        raise UsageError(f"--auth {user!r} is not a user name", next="one or more printable characters without a colon")
    password = environ.get(PASSWORD, "")
    named = password_file or (Path(environ[PASSWORD_FILE]) if environ.get(PASSWORD_FILE) and not password else None)
    if named is not None:
        password = _read(named)
    if not password:
        where = f"{named} is empty" if named is not None else f"neither {PASSWORD} nor a password file is given"
        raise UsageError(
            f"--auth {user} needs a password", evidence=[where], next=f"set {PASSWORD}, or give --password-file FILE"
        )
    return Login(user, password)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(
            f"cannot read the password file {path}: {reason}", next="give another --password-file"
        ) from error


def _credentials(authorization: str) -> bytes | None:
    """user:password as the browser sent it; None if it is not Basic authentication."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
