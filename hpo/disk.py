"""Recognise a full disk, whether the kernel reports it or another program's message does."""

from __future__ import annotations

import errno

__all__ = ["is_full"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_WORDS = (
    "No space left on device",
    "Disk quota exceeded",
)  # libc's in the C locale, as our servers run


def is_full(error: BaseException | str) -> bool:
    """Whether the disk is full, or the user's quota on it."""
    return getattr(error, "errno", None) in _FULL or any(words in str(error) for words in _WORDS)
