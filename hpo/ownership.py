"""Who owns a folder: hpo works in its user's own folders, and follows no link that somebody else may have put there.

The owner of a folder can replace any file in it by a link to another file at any moment. So hpo refuses somebody
else's folder as its home, and opens files below its home by name without following links.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from hpo.errors import StorageError

__all__ = [
    "check_home",
    "is_trusted",
    "links_below",
    "open_no_link",
    "owner_name",
    "read_bounded",
    "remove_file",
    "remove_folder",
]


def is_trusted(path: Path) -> bool:
    """Whether `path` itself, even if it is a link, belongs to this account or to root. OSError if it does not exist."""
    return path.lstat().st_uid in (0, os.geteuid())


def check_home(home: Path) -> None:
    """Raise StorageError when somebody else owns `home`, or the link that it is. A folder that does not exist passes.

    Anybody may use root's folders: volumes of containers belong to root, and root needs no link to do harm.
    """
    try:
        if is_trusted(home) and home.stat().st_uid in (0, os.geteuid()):
            return
        owner = owner_name(home if is_trusted(home) else home.lstat().st_uid)
    except OSError:
        return
    raise StorageError(
        f"{home} belongs to {owner}, and you are {owner_name(os.geteuid())}",
        evidence=["its owner could put a link there and make hpo write to any file of yours"],
        next=f"run hpo as {owner}, or set HPO_HOME to a folder of your own",
    )


def open_no_link(path: Path, flags: int) -> int:
    """A descriptor of the regular file `path`, which has no other name; created with mode 0600 if `flags` say so.

    Raises OSError: ELOOP if it is a link, EEXIST if it is anything else.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.EEXIST, "not an ordinary file with one name", str(path))
    return descriptor


def read_bounded(path: Path, most_bytes: int, *, links: bool) -> bytes:
    """The content of the file `path`. OSError unless it is a regular file of at most `most_bytes`: no pipe, no device.

    links: whether it may be a link; if not, a link raises ELOOP
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file", str(path))
        if found.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"larger than {most_bytes} bytes", str(path))
        return file.read(found.st_size)  # without what has been added since


def links_below(path: Path, top: Path) -> list[Path]:
    """The links on the way from the folder `top`, which may itself be one, down to `path`."""
    steps = [path, *path.parents]
    return [step for step in steps[: steps.index(top)] if step.is_symlink()]


def remove_folder(path: Path, top: Path) -> None:
    """Remove `path` and everything in it as far as possible, but nothing that a link below `top` leads to."""
    if not links_below(path, top):
        shutil.rmtree(path, ignore_errors=True)  # which follows no link below


def remove_file(path: Path, top: Path) -> None:
    """Remove the file `path`, if it is there and no link below `top` leads to it."""
    if not links_below(path, top):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def owner_name(who: Path | int) -> str:
    """The name of the account that owns a path, or has this number; `account 1000` if it has no name."""
    number = who if isinstance(who, int) else who.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"account {number}"
