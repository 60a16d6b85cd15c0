"""The commands, put together, and the page that `hpo --help` shows."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import typer

from hpo.cli import (
    check,
    compare,
    compress,
    dashboard,
    db,
    declarations,
    doctor,
    evaluate,
    report,
    reproduce,
    run,
    saved_model,
    status,
)
from hpo.cli.command import HpoCommand, HpoGroup
from hpo.errors import EXIT_CODES
from hpo.settings import VARIABLES

__all__ = ["app", "command_line"]

_HELP = """Search hyperparameters of PyTorch models with Optuna: every device in use, nothing lost, an honest result.

Start with `hpo run --study mlp_digits --timeout 2m`. It needs no download and no database. Ctrl-C is safe: run
the same command again to resume. Watch with `hpo dashboard`; see the result with `hpo best --study mlp_digits`.
"""


def _epilog() -> str:
    codes = [f"- {code} {meaning}" for code, meaning in EXIT_CODES.items()]
    variables = [
        f"- {one.name}: {one.purpose}" + (f" (default: {one.default})" if one.default != "none" else "")
        for one in VARIABLES
    ]
    return "\n".join(["Exit codes:", "", *codes, "", "Environment variables:", "", *variables])


app = typer.Typer(
    name="hpo",
    cls=HpoGroup,
    help=_HELP,
    epilog=_epilog(),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from hpo import __version__
        from hpo.cli.output import emit

        emit(f"hpo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command("run", cls=HpoCommand, rich_help_panel="Search")(run.run)
app.command("worker", cls=HpoCommand, rich_help_panel="Search")(run.worker)
app.command("studies", cls=HpoCommand, rich_help_panel="Declarations")(declarations.studies)
app.command("space", cls=HpoCommand, rich_help_panel="Declarations")(declarations.space)
app.command("check", cls=HpoCommand, rich_help_panel="Declarations")(check.check)
app.command("status", cls=HpoCommand, rich_help_panel="Results")(status.status)
app.command("best", cls=HpoCommand, rich_help_panel="Results")(status.best)
app.command("trials", cls=HpoCommand, rich_help_panel="Results")(status.trials)
app.command("report", cls=HpoCommand, rich_help_panel="Results")(report.report)
app.command("compare", cls=HpoCommand, rich_help_panel="Results")(compare.compare)
app.command("evaluate", cls=HpoCommand, rich_help_panel="Results")(evaluate.evaluate)
app.command("export", cls=HpoCommand, rich_help_panel="Results")(saved_model.export)
app.command("compress", cls=HpoCommand, rich_help_panel="Results")(compress.compress)
app.command("predict", cls=HpoCommand, rich_help_panel="Results")(saved_model.predict)
app.command("reproduce", cls=HpoCommand, rich_help_panel="Results")(reproduce.reproduce)
app.command("dashboard", cls=HpoCommand, rich_help_panel="Results")(dashboard.dashboard)
app.command("doctor", cls=HpoCommand, rich_help_panel="Database")(doctor.doctor)
app.add_typer(db.db, name="db", rich_help_panel="Database")


@cache
def command_line() -> Any:
    """The command line as Click has it. typer makes it anew for each call of `app`: 21 ms."""
    return typer.main.get_command(app)
