"""The commands, put together, and the page that `hpo --help` shows."""

from __future__ import annotations

from typing import Annotated

import typer

from hpo.cli import check, compress, database, declared, doctor, evaluate, report, reproduce, run, status, winner
from hpo.cli.old_names import Command

__all__ = ["app"]

_HELP = """Search hyperparameters of PyTorch models with Optuna: every device in use, nothing lost, an honest best.

Start with `hpo run --study mlp_digits --timeout 2m`. It needs no download and no database. Ctrl-C is safe: the same
command goes on where it stopped. Watch with `hpo dashboard`, ask with `hpo best --study mlp_digits`.
"""

_EPILOG = """Exit codes:

- 0 done
- 1 the answer is no: a trial is not reproduced, or `hpo doctor` found something broken
- 2 usage, or a study that cannot run
- 3 the study was started with another table or other code, or another host works on it with other code
- 4 database
- 5 device or data
- 70 a bug, of hpo or five times the same one of a study; or every finished trial failed
- 129 SIGHUP (the terminal was closed), 130 Ctrl-C, 143 SIGTERM: stopped, nothing lost
- 141 the reader of a pipe left

Environment: HPO_STORAGE, HPO_STORAGE_PASSWORD_FILE, HPO_HOME, HPO_DATA_DIR, HPO_CHECKPOINT_DIR, HPO_DEVICES,
HPO_TRAINERS, HPO_TRAINERS_PER_GPU, HPO_TIMEOUT, HPO_TRIALS, HPO_COMMIT, HPO_HEARTBEAT, HPO_LEASE_SECONDS,
HPO_PATIENCE_SECONDS.
README.md says what each does.
"""

app = typer.Typer(
    name="hpo",
    help=_HELP,
    epilog=_EPILOG,
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
        bool, typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command("run", cls=Command, rich_help_panel="Search")(run.run)
app.command("worker", cls=Command, rich_help_panel="Search")(run.worker)
app.command("studies", cls=Command, rich_help_panel="Declarations")(declared.studies)
app.command("space", cls=Command, rich_help_panel="Declarations")(declared.space)
app.command("check", cls=Command, rich_help_panel="Declarations")(check.check)
app.command("status", cls=Command, rich_help_panel="Results")(status.status)
app.command("best", cls=Command, rich_help_panel="Results")(status.best)
app.command("trials", cls=Command, rich_help_panel="Results")(status.trials)
app.command("report", cls=Command, rich_help_panel="Results")(report.report)
app.command("evaluate", cls=Command, rich_help_panel="Results")(evaluate.evaluate)
app.command("export", cls=Command, rich_help_panel="Results")(winner.export)
app.command("compress", cls=Command, rich_help_panel="Results")(compress.compress)
app.command("predict", cls=Command, rich_help_panel="Results")(winner.predict)
app.command("reproduce", cls=Command, rich_help_panel="Results")(reproduce.reproduce)
app.command("dashboard", cls=Command, rich_help_panel="Results")(database.dashboard)
app.command("doctor", cls=Command, rich_help_panel="Database")(doctor.doctor)
app.add_typer(database.db, name="db", rich_help_panel="Database")
