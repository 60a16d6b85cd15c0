"""Parameters on as few lines as fit, broken between entries only: a name never parts from its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from hpo.cli.wording import grouped, value_text

__all__ = ["Entries"]


class Entries:
    """A configuration as rich draws it, one entry for each row of the study's table."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._entries = [(name, value_text(value)) for name, value in grouped(params).items()]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text()
        for name, value in self._entries:
            entry = Text.assemble((name, "dim"), " ", value)
            if line and cell_len(line.plain) + 2 + cell_len(entry.plain) > options.max_width:
                yield line
                line = Text()
            line.append("  " if line else "").append_text(entry)
        yield line
