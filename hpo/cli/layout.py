"""The two layouts of a command's answer to people: a plain table, and lines that each begin with a label."""

from __future__ import annotations

from collections.abc import Collection

from rich import box
from rich.table import Table

__all__ = ["labelled_lines", "plain_table"]


def plain_table(*columns: str, right: Collection[str] = ()) -> Table:
    """A table with nothing but a line under its head; `right`: the columns that are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
    return table


def labelled_lines() -> Table:
    """Rows of two cells: a dim label, and text that folds beside it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table
