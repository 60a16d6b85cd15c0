"""Options and environment variables under their old names: they still work, and say what they are called now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from typer.core import TyperCommand

from hpo.cli.output import notice
from hpo.errors import UsageError
from hpo.settings import RENAMED

__all__ = ["OldNamesCommand", "current_words"]


class OldNamesCommand(TyperCommand):
    """A command that also takes old names of its options, and of their environment variables; `--help` has the new."""

    # Any: typer brings a click of its own, whose Context has no public name.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # the shell asks for completions
            return super().parse_args(ctx, args)
        options = {option for parameter in self.params for option in parameter.opts}
        return super().parse_args(ctx, current_words(args, options, os.environ))


def current_words(words: list[str], options: set[str], environ: Mapping[str, str]) -> list[str]:
    """`words` with today's names of `options`. An old variable becomes an option in front, so that `words` override it.

    Raises UsageError where both names of one thing are given.
    """
    given = list(words)
    for old, new in RENAMED.items():
        old_option, new_option = _option(old), _option(new)
        if new_option not in options:
            continue
        if any(_names(word, old_option) for word in given):
            if any(_names(word, new_option) for word in given):
                raise UsageError(
                    f"{new_option} and its old name {old_option} are both given", next=f"leave {old_option} out"
                )
            given = list(_renamed(given, old_option, new_option))
            _tell(old_option, new_option)
        given = [*_from_environment(_variable(old), _variable(new), new_option, environ), *given]
    return given


def _from_environment(old: str, new: str, option: str, environ: Mapping[str, str]) -> list[str]:
    value = environ.get(old)
    if not value:
        return []
    if environ.get(new):
        raise UsageError(f"{new} and its old name {old} are both set", next=f"unset {old}")
    _tell(old, new)
    return [option, value]


def _renamed(words: list[str], old: str, new: str) -> Iterator[str]:
    for index, word in enumerate(words):
        literal = "--" in words[:index]
        yield new + word[len(old) :] if _names(word, old) and not literal else word


def _names(word: str, option: str) -> bool:
    return word == option or word.startswith(f"{option}=")


def _tell(old: str, new: str) -> None:
    notice(f"note: {old} is now called {new}; the old name still works")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return f"HPO_{name.upper()}"
