"""What every command of hpo is: old names still work, and `--help` names no type where there is none, and examples."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from hpo.cli.examples import EXAMPLES
from hpo.cli.old_names import OldNamesCommand

__all__ = ["HpoCommand", "HpoGroup"]


# Any: typer brings a click of its own, whose Context and Parameter have no public names.
class HpoCommand(OldNamesCommand):
    """A command whose switches are shown by their names alone, and whose help ends with examples."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_switches(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        examples = EXAMPLES[ctx.command_path.removeprefix("hpo ")]
        lines = [f"   {purpose}\n     {typed}\n" for typed, purpose in examples]
        formatter.write("\n".join([" Examples\n", *lines]))


class HpoGroup(TyperGroup):
    """The same for `hpo` itself and for `hpo db`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_switches(super().get_params(ctx))


def _plain_switches(parameters: list[Any]) -> list[Any]:
    """typer writes <bool> beside a switch, as if it took a value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters
