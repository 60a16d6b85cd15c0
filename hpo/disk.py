"""A disk without room, however it is told: by the kernel, or in the words of a program that met it."""

from __future__ import annotations

import errno

__all__ = ["is_full"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_WORDS = ("No space left on device", "Disk quota exceeded")  # libc's, in the C locale: as our own servers speak


def is_full(error: BaseException | str) -> bool:
    """Whether the disk had no room, or the user none of it."""
    return getattr(error, "errno", None) in _FULL or any(words in str(error) for words in _WORDS)
