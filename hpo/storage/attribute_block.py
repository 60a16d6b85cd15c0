"""Attributes of many finished trials in one compressed text: what one says, most of the others say too."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hpo.decoding import Undecodable, decoded

__all__ = ["AttributeBlock", "Words"]

Words = list[str]
"""Keys and, as the database has them, the JSON texts of their values, by turns."""


_SEPARATOR = "\x1f"


class AttributeBlock:
    """(user attributes, attributes of TPE) of trials, by their place in it. Nothing is decoded before it is asked for.

    64 trials of hpo's in a block take a tenth of what each takes compressed by itself.
    """

    __slots__ = ("_packed",)
    _last: tuple[AttributeBlock, list[str]] | None = None  # unpacked: who asks for one trial asks for the next

    def __init__(self, trials: Sequence[tuple[Words, Words]]) -> None:
        self._packed = zlib.compress("\n".join([_line(*trial) for trial in trials]).encode(), 1)

    def user(self, place: int) -> dict[str, Any]:
        return _values(self._of(place)[0])

    def of_tpe(self, place: int) -> dict[str, Any]:
        return _values(self._of(place)[1])

    def _of(self, place: int) -> tuple[Words, Words]:
        last = AttributeBlock._last  # by one name, because another thread may set it to another block meanwhile
        if last is None or last[0] is not self:
            last = AttributeBlock._last = self, zlib.decompress(self._packed).decode().split("\n")
        return _parts(last[1][place])


def _line(user: Words, of_tpe: Words) -> str:
    """One line of text. JSON escapes line breaks and the separator: only a key, or what others wrote, can have them."""
    line = _SEPARATOR.join([str(len(user)), *user, *of_tpe])
    if line.count(_SEPARATOR) == len(user) + len(of_tpe) and "\n" not in line:
        return line
    return json.dumps([user, of_tpe])  # which begins with a bracket and no digit


def _parts(line: str) -> tuple[Words, Words]:
    if line.startswith("["):
        user, of_tpe = json.loads(line)
        return user, of_tpe
    count, *words = line.split(_SEPARATOR)
    return words[: int(count)], words[int(count) :]


def _values(words: Words) -> dict[str, Any]:
    """What is no JSON is as if it were not there."""
    found = {}
    for key, text in zip(words[::2], words[1::2], strict=True):
        with suppress(Undecodable):
            found[key] = decoded(text)
    return found
