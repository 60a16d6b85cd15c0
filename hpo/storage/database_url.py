"""What a user may give as a database: any URL of SQLAlchemy. Other text is refused, and no password is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import exc as sa
from sqlalchemy.engine import URL, make_url

from hpo.errors import StorageError

__all__ = ["database_file", "hide_password", "no_database_file", "parse_url", "secrets_of"]

_EXAMPLE = "postgresql://user@host:5432/database"
_SCHEME = re.compile(r"[\w.+-]*:?/+")
_KEYWORD = re.compile(r"(password\s*=\s*)('[^']*'|[^\s&]+)", re.IGNORECASE)  # host=... password=..., as libpq takes it


def parse_url(text: str) -> URL:
    """The parts of a database's URL. Raises StorageError for any other text, with what is wrong with it."""
    if text.partition("://")[0] in ("redis", "rediss"):
        raise _journal(hide_password(text))
    if _ambiguous(text):
        raise StorageError(
            f"more than one @ in {hide_password(text)}",
            evidence=["only the @ before the host may stand as it is; in a user or a password, write it as %40"],
            next="write @ as %40 (and % as %25), or leave the password out and name a file with it in "
            "HPO_STORAGE_PASSWORD_FILE",
        )
    try:
        return make_url(text)
    except ValueError as error:
        several = "; several hosts: postgresql:///database?host=a:5432&host=b:5432" if "," in text else ""
        fact = f"the port in {hide_password(text)} is not a number"
        raise StorageError(fact, next=f"write it as {_EXAMPLE}{several}") from error
    except sa.ArgumentError as error:
        raise _no_url(text) from error


def hide_password(text: str) -> str:
    """`text` with *** for its password, whether or not it is a URL, and wherever the password may end."""
    try:
        parsed = None if _ambiguous(text) else make_url(text)
    except (sa.ArgumentError, ValueError):
        parsed = None
    if parsed is not None:
        query = {key: ("***" if "password" in key.lower() else value) for key, value in parsed.query.items()}
        return parsed.set(query=query).render_as_string(hide_password=True)
    scheme, rest = _scheme(text)
    user, colon, after = rest.partition(":")
    if colon and "@" in rest:
        rest = f"{user}:***@{rest.rpartition('@')[2]}"
    elif colon and scheme.count("/") == 2:  # a port that is no number may be a password without its host
        rest = f"{user}:{re.sub('^[^/?]*', '***', after)}"
    return scheme + _KEYWORD.sub(r"\1***", rest)


def secrets_of(text: str) -> list[str]:
    """Every spelling of the passwords in `text`: as they are, and as they are written there."""
    rest = _scheme(text)[1]
    written = rest.partition(":")[2].rpartition("@")[0]
    found = [written, unquote(written), *(match[2] for match in _KEYWORD.finditer(text))]
    try:
        parsed = make_url(text)
    except (sa.ArgumentError, ValueError):
        return [*found, *re.findall(r"^[^:/]*:([^/?]*)", rest)]
    found += re.findall(r"//[^:/@]*:([^@/]*)@", text)
    found += [str(value) for key, value in parsed.query.items() if "password" in key.lower()]
    return [*found, str(parsed.password or "")]


def database_file(url: URL) -> Path | None:
    """The file of an SQLite database; None where it is in memory."""
    name = url.database or ""
    if name.startswith("file:"):  # SQLite's own URIs: sqlite:///file:study.db?mode=ro&uri=true
        name = unquote(re.sub(r"^//(localhost)?(?=/)", "", name.removeprefix("file:")))
    return Path(name) if name and name != ":memory:" else None


def no_database_file(path: Path, place: str) -> StorageError:
    """The error for a file, called `place`, that is not an SQLite database: it may be a journal of Optuna."""
    if _is_journal(path):
        return _journal(place)
    return StorageError(f"{place} is not a database", next="check the path in the URL")


def _ambiguous(text: str) -> bool:
    """Whether a second @ leaves open where the password ends; SQLAlchemy would take the first."""
    scheme, rest = _scheme(text)
    if scheme.count("/") != 2:  # sqlite:////folder@place/study.db has four, and names no user
        return bool(re.match(r"[^?@]*:[^?]*@", rest)) and "://" in scheme and not scheme.startswith("sqlite")
    userinfo = re.match(r"[^:/]*:[^@]*@", rest)
    if userinfo:
        place, _, query = rest[userinfo.end() :].partition("?")
        if "@" not in query:
            return "@" in place
        # In ?user=me@laptop it belongs to the value; a slash after it may be the one between host and database.
        return "@" in place or "=" not in query.partition("@")[0] or "/" in query.rpartition("@")[2]
    return bool(re.match(r"[^?]*/[^?]*:[^?]*@", rest))


def _scheme(text: str) -> tuple[str, str]:
    found = _SCHEME.match(text)
    return (found[0], text[found.end() :]) if found else ("", text)


def _no_url(text: str) -> StorageError:
    path = Path(text)
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if there and path.read_bytes()[:15] == b"SQLite format 3":
        return StorageError(f"{text} is a file, not a URL", next=f"give --storage sqlite:///{path}")
    if there:
        return no_database_file(path, text)
    next = f"write it as {_EXAMPLE}"
    if text.endswith((".db", ".sqlite", ".sqlite3")):
        next = f"for a file write it as sqlite:///{text}"
    return StorageError(f"not a database URL: {hide_password(text)}", next=next)


def _journal(place: str) -> StorageError:
    return StorageError(
        f"{place} is a journal of Optuna's (JournalStorage), and hpo reads databases",
        next='copy its studies with `optuna.copy_study(..., to_storage="sqlite:///copy.db")`, '
        "then give --storage sqlite:///copy.db",
    )


def _is_journal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(1 << 20))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "op_code" in first
