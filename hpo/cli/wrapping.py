"""Parameters on as few lines as possible, broken only between phrases: a name stays with its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from hpo.printable import one_line
from hpo.wording import grouped, value_text

__all__ = ["WrappedParameters", "WrappedPhrases"]


class WrappedPhrases:
    """Short texts one after another, `gap` columns between them."""

    def __init__(self, phrases: Sequence[Text], gap: int = 2) -> None:
        self._phrases, self._gap = phrases, gap

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text()
        for phrase in self._phrases:
            if line and cell_len(line.plain) + self._gap + cell_len(phrase.plain) > options.max_width:
                yield line
                line = Text()
            line.append(" " * self._gap if line else "").append_text(phrase)
        yield line


class WrappedParameters(WrappedPhrases):
    """A configuration as rich draws it, one entry for each row of the study's table."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        phrases = grouped(params).items()
        super().__init__([Text.assemble((one_line(name), "dim"), " ", value_text(value)) for name, value in phrases])
