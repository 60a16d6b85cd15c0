"""A docstring's aligned list of fields (`name:   what it is`) becomes a list in Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

FIELD = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*):\s+(\S.*)")


class FieldLists(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = listed(escaped(obj.docstring.value))


def escaped(text: str) -> str:
    """`<` outside code, which Markdown would take for a tag: docstrings are plain text."""
    parts = text.split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def listed(text: str) -> str:
    """Lines that begin a field become items, the indented lines below them go with them, everything else stays."""
    lines: list[str] = []
    in_list = False
    for line in text.splitlines():
        field = FIELD.fullmatch(line)
        if field:
            lines += ([] if in_list else [""]) + [f"- `{field[1]}`: {field[2]}"]
            in_list = True
        elif in_list and line.startswith(" "):
            lines.append(f"  {line.strip()}")
        else:
            lines += [""] if in_list and line else []
            lines.append(line)
            in_list = False
    return "\n".join(lines)
