"""A declaration as hpo check and hpo space show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rich.text import Text

from hpo.cli.declarations import heading


def test_brackets_in_a_description_are_no_markup() -> None:
    study: Any = SimpleNamespace(name="s", description=" see [/x], [red] and \x1b[2J\nmore ")
    assert Text.from_markup(heading(study)).plain == "s  see [/x], [red] and \\u001b[2J\nmore"
