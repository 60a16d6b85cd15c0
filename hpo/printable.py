"""Text that is safe on a terminal, whoever wrote it: names in a shared database come from anybody."""

from __future__ import annotations

import re

__all__ = ["one_line", "printable"]

# A terminal obeys control characters (tab and newline are harmless) and changes the order of text between bidirectional
# overrides; a lone surrogate cannot be written as UTF-8. Unicode's line separators end a line too.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with every unsafe character spelled out as in JSON. Tab and newline stay."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: object) -> str:
    """`text` as part of a line: `printable`, with newline and tab spelled out too.

    So no name can write a line of its own or move the text beside it.
    """
    return printable(str(text)).replace("\n", "\\n").replace("\t", "\\t")
