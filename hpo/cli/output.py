"""How results reach stdout: plain text, tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from hpo.json_values import as_json
from hpo.printable import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

__all__ = ["cell", "emit", "emit_json", "emit_rich", "notice", "progress_console", "silence_stdout"]

BROKEN_PIPE = 141

WIDE = 200
"""Columns of a table in a file or a pipe, where no terminal limits it."""


def emit(text: str) -> None:
    """One piece of result on stdout. Exits quietly when the program reading it has closed the pipe."""
    _write(printable(text))


def _write(text: str) -> None:
    try:
        print(text)
    except BrokenPipeError:
        raise typer.Exit(silence_stdout()) from None


def silence_stdout() -> int:
    """Drop all further output, and stay silent at exit: its reader closed the pipe (`hpo trials | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return BROKEN_PIPE


def emit_json(value: Any) -> None:
    """`value` as JSON on stdout; hpo.json_values.as_json says what becomes of values that JSON cannot hold."""
    emit(json.dumps(as_json(value), indent=2, ensure_ascii=False))


def cell(text: object) -> str:
    """`text` for Rich to lay out: without markup, on one line, and as wide as the terminal will show it."""
    from rich.markup import escape

    return escape(one_line(text))


def emit_rich(*parts: RenderableType) -> None:
    """Rich renderables on stdout, coloured on a terminal only."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDE
    console = Console(width=width, highlight=False, emoji=False)
    with console.capture() as capture:
        for part in parts:
            console.print(_Printable(part))
    # In a file the padding after the last column is only noise in a diff.
    _write("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


class _Printable:
    """A renderable from which only Rich's own styles reach the terminal, and no control code in its texts."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for text, style, control in console.render(self._part, options):
            yield Segment(text if control else printable(text), style, control)


def progress_console() -> Console:
    """stderr, where everything that is not a result goes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def notice(text: str) -> None:
    """One line for the person watching."""
    try:
        print(one_line(text), file=sys.stderr, flush=True)
    except OSError:  # the terminal is gone, and its SIGHUP is on the way
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
