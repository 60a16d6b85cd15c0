"""What a program prints, kept in a file within bounds: how it began and how it ended."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

from hpo.atomic_file import write_atomically
from hpo.ownership import links_below, read_bounded
from hpo.printable import printable

__all__ = ["MOST_BYTES", "Output"]

HEAD_BYTES = TAIL_BYTES = 32 * 2**10
MOST_BYTES = HEAD_BYTES + TAIL_BYTES + 200
"""Of a file, with the line between its two parts."""
LINE = 500
"""Characters of a line that stands in a reason."""
WRITE_SECONDS = 1.0
"""At most this much of it is lost when a trainer is killed."""
_LEFT_OUT = re.compile(rb"\n\[hpo: (\d{1,18}) bytes left out\]\n")


class Output:
    """The beginning and the end of all that is added; what came between is counted.

    path: the file, which goes on where an earlier attempt ended; None keeps it in memory
    """

    def __init__(self, path: Path | None, attempt: str = "") -> None:
        self._path = path if path is not None and not links_below(path, path.parents[1]) else None
        self._head, self._tail, self._left_out = b"", bytearray(), 0
        self._written, self._changed = 0.0, False
        if self._path is not None and self._path.exists():
            with suppress(OSError):
                self._go_on(read_bounded(self._path, MOST_BYTES + 100, links=False))
                self.add(f"\n[hpo: {attempt}]\n".encode())

    def add(self, chunk: bytes) -> None:
        room = HEAD_BYTES - len(self._head) if not self._tail and not self._left_out else 0
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if (over := len(self._tail) - TAIL_BYTES) > 0:
            del self._tail[:over]
            self._left_out += over
        self._changed = True

    @property
    def content(self) -> bytes:
        gap = f"\n[hpo: {self._left_out} bytes left out]\n".encode() if self._left_out else b""
        return self._head + gap + bytes(self._tail)

    def last_lines(self, most: int) -> list[str]:
        """The last lines with something in them; of what a progress bar wrote over, the last state."""
        text = (self._head[-TAIL_BYTES:] + bytes(self._tail))[-TAIL_BYTES:].decode(errors="replace")
        lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
        return [printable(line)[:LINE] for line in lines if line.strip()][-most:]

    def write(self, *, now: bool = False) -> None:
        """Write the file where something came in, at most once a second. A disk that refuses ends no trial."""
        due = now or time.monotonic() - self._written > WRITE_SECONDS
        if self._path is None or not self._changed or not due:
            return
        self._written, self._changed = time.monotonic(), False
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, self.content)

    def _go_on(self, before: bytes) -> None:
        found = _LEFT_OUT.search(before)
        if found is None:
            self.add(before)
            return
        self._head, self._left_out = before[: found.start()], int(found[1])
        self._tail = bytearray(before[found.end() :])
