"""`hpo db init`: the tables, and a study with its budget for workers to join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.command import HpoCommand, HpoGroup
from hpo.cli.options import (
    DirectionOption,
    DirectionsOption,
    MetricOption,
    PrunerOption,
    SamplerOption,
    StorageOption,
    found_study,
    objective_options,
    timeout_option,
    trials_option,
    typed_options,
)
from hpo.cli.output import emit, notice

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from hpo.study.discovery import FoundStudy

__all__ = ["db"]

db = typer.Typer(cls=HpoGroup, help="Prepare the database.", no_args_is_help=True, rich_markup_mode="markdown")


@db.callback()
def _group() -> None:
    """Prepare the database."""


@db.command("init", cls=HpoCommand)
def init(
    context: typer.Context,
    storage: StorageOption = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study", "-s", metavar="NAME", help="Also create this study, for workers to join.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        timeout_option(
            "With --study: its wall-clock budget, counted from now. A deadline that is already set is kept.",
            envvar="HPO_TIMEOUT",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        trials_option("With --study: exactly N trials in total."),
    ] = None,
    direction: DirectionOption = None,
    directions: DirectionsOption = None,
    metric: MetricOption = None,
    sampler: SamplerOption = None,
    pruner: PrunerOption = None,
) -> None:
    """Create the tables and, with `--study`, a study with its budget. Safe to repeat and to run twice at once."""
    from hpo.duration import parse_duration
    from hpo.search.budget import check_trials
    from hpo.settings import Settings
    from hpo.storage.engine import hide_password, open_engine, resolve_url
    from hpo.storage.schema import check_installed_optuna, ensure_schema

    # Every refusal comes before a server starts and tables are made.
    check_trials(trials)
    if study is None:
        _check_nothing_of_a_study(context)
    seconds = parse_duration(timeout) if timeout is not None else None
    options = objective_options(direction, directions, metric, sampler, pruner)
    found = found_study(study, options) if study is not None else None
    check_installed_optuna()
    settings = Settings.read()
    url = resolve_url(settings, storage)
    engine = open_engine(url, application_name="hpo db init")
    try:
        if found is None:
            ensure_schema(engine)
        else:
            _prepare(engine, found, seconds, trials)
    finally:
        engine.dispose()
    emit(f"ready: {hide_password(url)}")
    if storage is None and settings.storage is None:
        notice("this server runs as long as an hpo command uses it: `hpo run` and `hpo dashboard` start it")


def _check_nothing_of_a_study(context: typer.Context) -> None:
    """What was said of a study is refused where none is named."""
    from hpo.errors import UsageError

    said = [option for name, option in typed_options(context).items() if name != "storage"]
    if said:
        raise UsageError(
            f"{', '.join(said)} without --study: only the tables would be made",
            next=f"name the study, `hpo db init --study NAME {said[0]} ...`, or leave {' and '.join(said)} out",
        )


def _prepare(engine: Engine, found: FoundStudy, seconds: float | None, trials: int | None) -> None:
    from hpo.duration import format_duration
    from hpo.search.code import code_facts
    from hpo.search.open_study import OpenOptions, prepare_study
    from hpo.settings import Settings

    opening = OpenOptions(budget="once", timeout_seconds=seconds, trials_target=trials)
    live_seconds = Settings.read().lease_seconds
    budget = prepare_study(engine, found, opening, code_facts(), live_seconds=live_seconds).budget
    left = "no deadline" if budget.seconds_left is None else f"{format_duration(max(0.0, budget.seconds_left))} left"
    wanted = f" of {budget.trials_target}" if budget.trials_target is not None else ""
    notice(f"study {found.study.name}: {budget.finished}{wanted} trials finished, {left}")
