"""Where a machine keeps what hpo makes for it alone: compiled kernels, and what was measured of them.

That is `hpo/kernels` in the user's cache (XDG_CACHE_HOME, else ~/.cache), so that all home folders share it. Where that
folder cannot be had, or is another account's, it is HPO_HOME/cache/kernels. Names of files hold a digest of what they
were made for: machines that share a folder may differ.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpo.ownership import is_trusted, open_no_link

__all__ = ["alone", "find", "folder_for"]

LOCK_SECONDS = 180.0
"""How long one trainer waits for another that compiles or measures; two compilations may take two minutes."""


def find(home: Path, name: str) -> Path | None:
    """The file `name` that this account or root has put into one of the folders; None where there is none."""
    for top, folder in _folders(home):
        with suppress(OSError):
            if (folder / name).exists() and _is_ours(top, folder / name):
                return folder / name
    return None


def folder_for(home: Path, name: str) -> Path | None:
    """The first folder in which this account can write a file `name` that nobody else can replace; it is made."""
    for top, folder in _folders(home):
        with suppress(OSError):
            if not _is_ours(top, folder / name):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK) and _is_ours(top, folder / name):
                return folder
    return None


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """One process at a time works at `name`; where the disk has no locks, or one never ends, several do."""
    try:
        descriptor = open_no_link(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT)
    except OSError:
        yield
        return
    try:
        until = time.monotonic() + LOCK_SECONDS
        while not _locked(descriptor) and time.monotonic() < until:
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock is ours now, or there are no locks on this disk."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _folders(home: Path) -> Iterator[tuple[Path, Path]]:
    """(a folder that belongs to the account, ours below it), the one for all home folders first."""
    with suppress(RuntimeError):  # an account without a home folder
        cache = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache")
        if cache.is_absolute() and cache.parent.is_dir():
            yield cache.parent, cache / "hpo" / "kernels"
    yield home, home / "cache" / "kernels"


def _is_ours(top: Path, path: Path) -> bool:
    """Whether `path` and its folders from `top` on are this account's or root's: several people may share a folder."""
    steps = (top, *reversed([each for each in path.parents if top in each.parents]), path)
    return all(is_trusted(step) for step in steps if step.exists() or step.is_symlink())
