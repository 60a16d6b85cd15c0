"""`hpo report`: a folder with the page, the CSV files and report.json, for any study that can be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.options import JsonOption, ReadStorageOption, StoredStudyOption
from hpo.cli.output import emit, emit_json, notice, progress_console

if TYPE_CHECKING:
    from hpo.report import ReportData, WrittenReport
    from hpo.results.reading import StudyView

__all__ = ["report"]


def report(
    study: StoredStudyOption,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Output folder. Default: reports/NAME.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Number of best trials.")] = 10,
    png: Annotated[bool, typer.Option("--png", help="Also write every plot as an image; needs Chromium.")] = False,
    storage: ReadStorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the best trials, importances and every plot as one HTML file, with CSV files and report.json beside it."""
    from hpo.report import build_report, write_report
    from hpo.report.folder import check_folder
    from hpo.report.png import require_png, write_images

    if png:
        require_png()
    with _progress() as step:
        step("reading the study", 0, 1)
        view = _read(study, storage)
        folder = out if out is not None else Path("reports") / folder_name(view.name)
        check_folder(folder)
        step("importances", 0, 1)
        data = build_report(view, top=top)
        written = write_report(data, folder, step)
        images = write_images(written.plots, folder / "png", step) if png else []
    _say(data, written, images, as_json)


def folder_name(study: str) -> str:
    """A study's name as the name of one folder: plain Optuna allows slashes, dots and anything else in it."""
    return re.sub(r"[^\w.\-]+", "_", study).strip(".")[:100] or "study"


def _read(reference: str, storage: str | None) -> StudyView:
    from hpo.results.reading import open_for_reading, read_study, stored_name
    from hpo.settings import Settings

    engine = open_for_reading(storage, Settings.read())
    try:
        return read_study(engine, stored_name(engine, reference), history=True)
    finally:
        engine.dispose()


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, on a terminal only."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(24), TextColumn("{task.description}"), TimeElapsedColumn())
    console = progress_console()
    # Without a terminal rich would still end with an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def step(what: str, done: int, steps: int) -> None:
            progress.update(task, description=what, completed=done, total=steps if steps > 1 else None)

        yield step


def _say(data: ReportData, written: WrittenReport, images: list[Path], as_json: bool) -> None:
    missing = {plot.key: plot.missing for plot in written.plots if plot.missing}
    if as_json:
        document: dict[str, Any] = {
            "study": data.view.name,
            "folder": str(written.folder),
            "files": [str(path) for path in (*written.files, *images)],
            "trials": len(data.view.trials),
            "not_drawn": missing,
        }
        emit_json(document)
        return
    # That nothing failed is no trouble.
    if titles := ", ".join(plot.title.lower() for plot in written.plots if plot.missing and plot.key != "failures"):
        notice(f"not drawn (the page says why): {titles}")
    emit(str(written.page))
