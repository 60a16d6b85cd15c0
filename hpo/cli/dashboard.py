"""`hpo dashboard`: optuna-dashboard over the database."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from hpo.cli.options import ReadStorageOption
from hpo.cli.output import emit, notice

__all__ = ["dashboard"]


def dashboard(
    storage: ReadStorageOption = None,
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", help="Address to listen on. --auth is required for any but loopback addresses."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth",
            metavar="USER",
            help="Ask for this user name and a password, which is read from HPO_DASHBOARD_PASSWORD or a file.",
            show_default=False,
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="File that holds the password. Default: HPO_DASHBOARD_PASSWORD, else HPO_DASHBOARD_PASSWORD_FILE.",
            show_default=False,
        ),
    ] = None,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let other machines change and delete studies too.")
    ] = False,
) -> int:
    """Serve optuna-dashboard for the database until Ctrl-C.

    Only this machine can open it unless `--host` and `--auth` are given, and other machines can only read.
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
    sys.stdout.flush()  # a program that started this reads the address from a pipe
    notice(f"listening{'' if page.writable else ', read-only'}; Ctrl-C ends it")
    if not is_loopback(host):
        notice("note: passwords travel unencrypted; put a proxy with TLS in front of it on a network you do not trust")
    received: list[int] = []

    def leave(number: int, _frame: object) -> None:
        received.append(number)  # the server treats a SystemExit like Ctrl-C
        leave_on(number)

    for number in signals_to_leave():
        signal.signal(number, leave)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Optuna warns about the importances that a browser asks for
        page.serve()
    return 128 + received[0] if received else 0
