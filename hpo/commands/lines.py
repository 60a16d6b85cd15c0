"""Bytes as lines, whatever comes: no newline for a gigabyte, carriage returns of a progress bar, no text at all."""

from __future__ import annotations

import re

__all__ = ["LONGEST", "Lines"]

LONGEST = 64 * 2**10
"""A longer line is no metric: it is passed over up to its end."""
_ENDS = re.compile(rb"[\r\n]")


class Lines:
    """Splits what is fed to it at newlines and carriage returns."""

    def __init__(self) -> None:
        self._rest = b""
        self._too_long = False

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that are whole by now."""
        *whole, rest = _ENDS.split(self._rest + chunk)
        if whole and self._too_long:
            del whole[0]
            self._too_long = False
        self._too_long |= len(rest) > LONGEST
        self._rest = b"" if self._too_long else rest
        return [line.decode(errors="replace") for line in whole if line and len(line) <= LONGEST]

    def last(self) -> list[str]:
        """The line that no newline has ended."""
        return self.feed(b"\n")
