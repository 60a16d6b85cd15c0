"""What a trial's program has reported, in a file for the attempt that goes on: each record is told again then.

A program that goes on from its checkpoint does not repeat what it reported before, which may never have got through.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from hpo.commands.values import json_records
from hpo.ownership import open_no_link, read_bounded

__all__ = ["History"]

MOST_BYTES = 16 * 2**20
"""What comes after is not kept: a program that writes as much reports each batch, not each epoch."""


class History:
    """The records of a trial's attempts, one JSON object a line. A disk that refuses ends no trial.

    earlier: those of the attempts before, if `goes_on`; else they are forgotten
    """

    def __init__(self, path: Path, *, goes_on: bool) -> None:
        self._path = path
        self.earlier: list[dict[str, float]] = []
        self._size = 0
        with suppress(OSError):
            if not goes_on:
                path.unlink(missing_ok=True)
                return
            content = read_bounded(path, 2 * MOST_BYTES, links=False)
            self._size = len(content)
            lines = content.decode(errors="replace").splitlines()
            self.earlier = [record for line in lines for record in json_records(line)]

    def add(self, records: Iterable[Mapping[str, float]]) -> None:
        # The newline is first: the last line may have been cut short.
        lines = "".join(f"\n{json.dumps(record)}" for record in records).encode()
        if not lines or self._size > MOST_BYTES:
            return
        self._size += len(lines)
        with suppress(OSError):
            descriptor = open_no_link(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with os.fdopen(descriptor, "wb") as file:
                file.write(lines)
