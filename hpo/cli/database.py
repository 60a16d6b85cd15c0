"""`hpo db init` and `hpo dashboard`."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import ReadStorageOption, StorageOption, timeout_option, trials_option
from hpo.cli.output import emit, notice

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

__all__ = ["dashboard", "db"]

db = typer.Typer(help="Prepare the database.", no_args_is_help=True, rich_markup_mode="markdown")


@db.callback()
def _group() -> None:
    """Prepare the database."""


@db.command("init")
def init(
    storage: StorageOption = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study", "-s", metavar="NAME", help="Also make this study, for workers to join.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        timeout_option(
            "With --study: its wall-clock budget, from now on; a deadline that already runs is not put off.",
            envvar="HPO_TIMEOUT",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        trials_option("With --study: exactly N trials in all."),
    ] = None,
) -> None:
    """Make the tables, and a study with its budget. Safe to repeat and safe to race; `hpo run` does it by itself."""
    from hpo.settings import Settings
    from hpo.storage.engine import hide_password, open_engine, resolve_url
    from hpo.storage.schema import check_installed_optuna, ensure_schema

    check_installed_optuna()
    url = resolve_url(Settings.read(), storage)
    engine = open_engine(url, application_name="hpo db init")
    try:
        if study is None:
            ensure_schema(engine)
        else:
            _prepare(engine, study, timeout, trials)
    finally:
        engine.dispose()
    emit(f"ready: {hide_password(url)}")


def _prepare(engine: Engine, study: str, timeout: str | None, trials: int | None) -> None:
    from hpo.duration import format_duration, parse_duration
    from hpo.search.budget import check_trials
    from hpo.search.code import code_facts
    from hpo.search.open_study import OpenOptions, prepare_study
    from hpo.settings import Settings
    from hpo.study.discovery import find_study

    seconds = parse_duration(timeout) if timeout is not None else None
    check_trials(trials)
    found = find_study(study)
    opening = OpenOptions(budget="once", timeout_seconds=seconds, trials_target=trials)
    live_seconds = Settings.read().lease_seconds
    budget = prepare_study(engine, found, opening, code_facts(), live_seconds=live_seconds).budget
    left = "no deadline" if budget.seconds_left is None else f"{format_duration(max(0.0, budget.seconds_left))} left"
    wanted = f" of {budget.trials_target}" if budget.trials_target is not None else ""
    notice(f"study {found.study.name}: {budget.finished}{wanted} trials finished, {left}")


def dashboard(
    storage: ReadStorageOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Any but a loopback address needs --auth.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes a free one.")] = 8080,
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth",
            metavar="USER",
            help="Ask for this user and a password: HPO_DASHBOARD_PASSWORD, or a file.",
            show_default=False,
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="Holds the password. Without it: HPO_DASHBOARD_PASSWORD, else the file HPO_DASHBOARD_PASSWORD_FILE.",
            show_default=False,
        ),
    ] = None,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let studies be changed and deleted from other machines too.")
    ] = False,
) -> int:
    """Serve optuna-dashboard over the database, until Ctrl-C.

    Only for this machine, unless --host and --auth say otherwise; for others it is read-only.
    """
    from hpo.dashboard import Dashboard, is_loopback, read_login
    from hpo.errors import UsageError
    from hpo.settings import Settings
    from hpo.signals import leave_on, signals_to_leave

    if auth is None and password_file is not None:
        raise UsageError("--password-file without --auth asks nobody for a password", next="add --auth USER")
    login = read_login(auth, password_file, os.environ) if auth is not None else None
    page = Dashboard(storage, Settings.read(), host=host, port=port, login=login, writable=writable)
    emit(page.url)
    sys.stdout.flush()  # whoever started this in a pipe waits for the address
    notice(f"listening{'' if page.writable else ', read-only'}; Ctrl-C ends it")
    if not is_loopback(host):
        notice("note: passwords travel unencrypted; put a proxy with TLS in front of it on a network you do not trust")
    received: list[int] = []

    def leave(number: int, _frame: object) -> None:
        received.append(number)  # the server takes a SystemExit for Ctrl-C
        leave_on(number)

    for number in signals_to_leave():
        signal.signal(number, leave)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Optuna's, about the importances that a browser asks for
        page.serve()
    return 128 + received[0] if received else 0
