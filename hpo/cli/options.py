"""The options that several commands share: one spelling, one help text, one completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.completion import complete_study
from hpo.cli.output import notice

if TYPE_CHECKING:
    from hpo.results.reading import StudyView
    from hpo.study.discovery import FoundStudy
    from hpo.study.objective_study import ObjectiveOptions
    from hpo.study.study import Study

__all__ = [
    "AnyStoredStudyOption",
    "ChangedCodeOption",
    "DeviceOption",
    "DirectionOption",
    "DirectionsOption",
    "JsonOption",
    "MetricOption",
    "NameOption",
    "NotifyOption",
    "PrunerOption",
    "QuietOption",
    "SamplerOption",
    "StorageOption",
    "StoredStudyOption",
    "StudyOption",
    "SubsetOption",
    "TensorBoardOption",
    "TrackerOption",
    "TrainersOption",
    "TrainersPerGpuOption",
    "TrainersPerGpuOrAutoOption",
    "declared_study",
    "found_study",
    "objective_options",
    "read_stored",
    "timeout_option",
    "trials_option",
    "typed_options",
]


_STUDY = "A name from `hpo studies`, a path to a .py file (with :attribute if it holds several), or module:attribute."

StudyOption = Annotated[
    str, typer.Option("--study", "-s", metavar="NAME", help=_STUDY, autocompletion=complete_study, show_default=False)
]
_STORED_STUDY = typer.Option(
    "--study",
    "-s",
    metavar="NAME",
    help="The study's name in the database, or its .py file, or module:attribute.",
    autocompletion=complete_study,
    show_default=False,
)
StoredStudyOption = Annotated[str, _STORED_STUDY]
AnyStoredStudyOption = Annotated[str | None, _STORED_STUDY]


def _warn_of_password(url: str | None) -> str | None:
    """Warn of a password on the command line: everybody on the machine can read it in the list of processes."""
    if url is not None:
        from hpo.storage.engine import hide_password

        if "***" in hide_password(url) and "***" not in url:
            notice("note: others on this machine can read the password in --storage; HPO_STORAGE keeps it to yourself")
    return url


StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="postgresql://user@host/db. Default: HPO_STORAGE, else hpo's own PostgreSQL in .hpo/ of this folder.",
        show_default=False,
        callback=_warn_of_password,
    ),
]
ReadStorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Any Optuna database: postgresql://..., sqlite:///study.db. Default: HPO_STORAGE, else hpo's own "
        "PostgreSQL in .hpo/ of this folder.",
        show_default=False,
        callback=_warn_of_password,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda (every GPU) or a list: cuda:0,cuda:1. Default: HPO_DEVICES, else every visible GPU, "
        "else the CPU.",
        show_default=False,
    ),
]
TrainersOption = Annotated[
    int | None,
    typer.Option(
        "--trainers",
        metavar="N",
        min=1,
        envvar="HPO_TRAINERS",
        help="Number of trainers on the CPU. Default: one per core.",
        show_default=False,
    ),
]
TrainersPerGpuOption = Annotated[
    int,
    typer.Option(
        "--trainers-per-gpu",
        metavar="K",
        min=1,
        envvar="HPO_TRAINERS_PER_GPU",
        help="Number of trainers that share each GPU.",
    ),
]


def _count_or_auto(text: str | int) -> int | str:
    if str(text) == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a whole number nor auto") from None


TrainersPerGpuOrAutoOption = Annotated[
    Any,
    typer.Option(
        "--trainers-per-gpu",
        metavar="K|auto",
        parser=_count_or_auto,
        envvar="HPO_TRAINERS_PER_GPU",
        help="Number of trainers that share each GPU; auto tries 1, 2, 4 ... on the baseline while more are faster.",
    ),
]


def timeout_option(meaning: str, *, envvar: str | None = None) -> Any:
    """`--timeout TIME`; what it limits differs from command to command."""
    return typer.Option("--timeout", "-t", metavar="TIME", envvar=envvar, help=meaning, show_default=False)


def trials_option(meaning: str) -> Any:
    """`--trials N`, or HPO_TRIALS."""
    return typer.Option("--trials", "-n", metavar="N", min=1, envvar="HPO_TRIALS", help=meaning, show_default=False)


ChangedCodeOption = Annotated[
    bool,
    typer.Option(
        "--changed-code",
        help="Continue although your model or data set changed since the last finished trial.",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="Store the trials under this name instead of the study's.", show_default=False
    ),
]
SubsetOption = Annotated[
    int | None,
    typer.Option(
        "--subset", metavar="N", min=20, help="Train on only N images, to try things out.", show_default=False
    ),
]
TensorBoardOption = Annotated[
    str | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        help="Also write scalars and the HParams table for TensorBoard to this folder.",
        show_default=False,
    ),
]
TrackerOption = Annotated[
    str | None,
    typer.Option(
        "--tracker",
        metavar="NAME",
        help="Also track every trial as a run of mlflow or wandb. What they read themselves says where.",
        show_default=False,
    ),
]
NotifyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="URL",
        help="Send a message there when the run ends: any address that apprise knows. May be given several times.",
        envvar="HPO_NOTIFY",
        show_envvar=True,
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No live display: print only new bests and problems.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]


def _objective_option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=f"For an objective of your own: {text}", show_default=False)


DirectionOption = Annotated[
    str | None, _objective_option("--direction", "WAY", "minimize or maximize what it returns.")
]
DirectionsOption = Annotated[
    str | None,
    _objective_option("--directions", "WAYS", "minimize,maximize: one for each of several values it returns."),
]
MetricOption = Annotated[
    str | None, _objective_option("--metric", "NAME", "the name of its value, or of several: loss,seconds.")
]
SamplerOption = Annotated[
    str | None,
    _objective_option("--sampler", "NAME", "tpe (default), random, gp, cmaes, or another (docs/samplers.md)."),
]
PrunerOption = Annotated[
    str | None,
    _objective_option("--pruner", "NAME", "median (default), hyperband, none, or another (docs/samplers.md)."),
]


def objective_options(
    direction: str | None, directions: str | None, metric: str | None, sampler: str | None, pruner: str | None
) -> ObjectiveOptions:
    """The options above as one record."""
    from hpo.errors import UsageError
    from hpo.study.objective_study import ObjectiveOptions

    if direction is not None and directions is not None:
        raise UsageError("--direction and --directions are both given", next="leave one out")
    ways = direction if direction is not None else directions
    return ObjectiveOptions(_words(ways) or (), _words(metric), sampler, pruner)


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(","))


def found_study(reference: str, options: ObjectiveOptions) -> FoundStudy:
    """The study, or the objective, that `--study` names, and where it was found."""
    from hpo.study.discovery import find_study

    return find_study(reference, options)


def typed_options(context: typer.Context) -> dict[str, str]:
    """What stands on the command line, by parameter: `--its-name`. A variable may be set for other commands."""
    return {
        name: f"--{name.replace('_', '-')}"
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }


def declared_study(reference: str) -> Study:
    """The declaration that `--study` names."""
    from hpo.study.discovery import find_study

    return find_study(reference).study


def read_stored(reference: str, storage: str | None, *, metrics: bool = False) -> StudyView:
    """The stored study that `--study` names: by its name in the database, or by its declaration."""
    from hpo.results.reading import open_for_reading, read_study, stored_name
    from hpo.settings import Settings

    engine = open_for_reading(storage, Settings.read())
    try:
        return read_study(engine, stored_name(engine, reference), metrics=metrics)
    finally:
        engine.dispose()
