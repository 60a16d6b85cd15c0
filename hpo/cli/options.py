"""The options that several commands share: one spelling, one help text, one completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.output import notice

if TYPE_CHECKING:
    from hpo.results.reading import StudyView
    from hpo.study.study import Study

__all__ = [
    "AnyStoredStudyOption",
    "ChangedCodeOption",
    "DeviceOption",
    "JsonOption",
    "NameOption",
    "QuietOption",
    "StorageOption",
    "StoredStudyOption",
    "StudyOption",
    "SubsetOption",
    "TensorBoardOption",
    "TrainersOption",
    "TrainersPerGpuOption",
    "TrainersPerGpuOrAutoOption",
    "declared_study",
    "read_stored",
    "timeout_option",
    "trials_option",
]


def complete_study(incomplete: str) -> list[tuple[str, str]]:
    """The names in studies/ that begin so, with what each is about."""
    from hpo.errors import HpoError
    from hpo.study.discovery import list_studies

    try:
        found = list_studies()
    except HpoError:
        return []  # a broken study file must not break the user's shell
    pairs = [(one.source.stem, one.study.description.strip().split("\n")[0]) for one in found]
    return [pair for pair in pairs if pair[0].startswith(incomplete)]


_STUDY = "A name that `hpo studies` lists, a path to a .py file (with :attribute), or package.module:attribute."

StudyOption = Annotated[
    str, typer.Option("--study", "-s", metavar="NAME", help=_STUDY, autocompletion=complete_study, show_default=False)
]
_STORED_STUDY = typer.Option(
    "--study",
    "-s",
    metavar="NAME",
    help="The name it runs under; a .py file or module:attribute is understood too.",
    autocompletion=complete_study,
    show_default=False,
)
StoredStudyOption = Annotated[str, _STORED_STUDY]
AnyStoredStudyOption = Annotated[str | None, _STORED_STUDY]


def _said_aloud(url: str | None) -> str | None:
    """A password among a command's words is in the process list for everybody on the machine."""
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
        help="postgresql://user@host:5432/database. Without it: HPO_STORAGE, else the PostgreSQL that comes with hpo, "
        "kept in .hpo/ in this folder.",
        show_default=False,
        callback=_said_aloud,
    ),
]
ReadStorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Any Optuna database: postgresql://..., sqlite:///study.db. Without it: HPO_STORAGE, else the PostgreSQL "
        "in .hpo/ in this folder.",
        show_default=False,
        callback=_said_aloud,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda (every GPU) or a list: cuda:0,cuda:1. Without it: HPO_DEVICES, else every visible GPU, "
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
        help="Trainers on the CPU; one for each core by default.",
        show_default=False,
    ),
]
TrainersPerGpuOption = Annotated[
    int,
    typer.Option(
        "--trainers-per-gpu", metavar="K", min=1, envvar="HPO_TRAINERS_PER_GPU", help="Trainers that share each GPU."
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
        help="Trainers that share each GPU; auto tries 1, 2, 4 ... on the baseline for as long as they pay.",
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
    typer.Option("--changed-code", help="Go on although the file of your model changed since the last finished trial."),
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
        "--subset", metavar="N", min=20, help="Train on N images only, to try things out.", show_default=False
    ),
]
TensorBoardOption = Annotated[
    str | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        help="Also write scalars and the HParams table for TensorBoard there.",
        show_default=False,
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No live display: a line for each new best and for trouble only.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for programs.")]


def declared_study(reference: str) -> Study:
    """The declaration that `--study` names."""
    from hpo.study.discovery import find_study

    return find_study(reference).study


def read_stored(reference: str, storage: str | None) -> StudyView:
    """The stored study that `--study` names: as it stands, or as the name its declaration gives."""
    from hpo.results.reading import open_for_reading, read_study, stored_name
    from hpo.settings import Settings

    engine = open_for_reading(storage, Settings.read())
    try:
        return read_study(engine, stored_name(engine, reference))
    finally:
        engine.dispose()
