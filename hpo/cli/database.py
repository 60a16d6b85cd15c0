"""`hpo db init` and `hpo dashboard`."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from hpo.cli.options import ReadStorageOption, StorageOption
from hpo.cli.output import emit, notice

__all__ = ["dashboard", "db"]

TERMINATED = 143

db = typer.Typer(help="Prepare the database.", no_args_is_help=True, rich_markup_mode="markdown")


@db.callback()
def _group() -> None:
    """Prepare the database."""


@db.command("init")
def init(storage: StorageOption = None) -> None:
    """Make the tables, once. Safe to repeat and safe to race; `hpo run` does it by itself."""
    from hpo.settings import Settings
    from hpo.storage.engine import hide_password, open_engine, resolve_url
    from hpo.storage.schema import ensure_schema

    url = resolve_url(Settings.read(), storage)
    engine = open_engine(url, application_name="hpo db init")
    try:
        ensure_schema(engine)
    finally:
        engine.dispose()
    emit(f"ready: {hide_password(url)}")


def dashboard(
    storage: ReadStorageOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="A loopback address; there is no login.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes a free one.")] = 8080,
) -> int:
    """Serve optuna-dashboard over the database, until Ctrl-C."""
    from hpo.dashboard import Dashboard
    from hpo.settings import Settings

    page = Dashboard(storage, Settings.read(), host=host, port=port)
    emit(page.url)
    sys.stdout.flush()  # whoever started this in a pipe waits for the address
    notice("listening; Ctrl-C ends it")
    terminated = []

    def leave(number: int, _frame: object) -> None:
        # An ordinary exit, so that an embedded server which nobody else uses is stopped as well.
        terminated.append(number)
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, leave)
    page.serve()
    return TERMINATED if terminated else 0
