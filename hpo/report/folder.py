"""Writes the report's folder. Each file appears whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.atomic_file import write_atomically
from hpo.errors import UsageError
from hpo.report.csv_files import best_csv, curves_csv, importances_csv, trials_csv
from hpo.report.data import ReportData
from hpo.report.figures import plots_for
from hpo.report.html import render_page
from hpo.report.json_file import report_json
from hpo.report.plot import Plot, draw

__all__ = ["WrittenReport", "check_folder", "write_file", "write_report"]


@dataclass(frozen=True)
class WrittenReport:
    """Where a report was written. `plots` says what was drawn of each plot, or why nothing was."""

    folder: Path
    files: tuple[Path, ...]
    plots: tuple[Plot, ...]

    @property
    def page(self) -> Path:
        return self.folder / "index.html"


def write_report(
    data: ReportData, folder: Path, on_step: Callable[[str, int, int], None] = lambda _what, _done, _of: None
) -> WrittenReport:
    """Draw and write everything into `folder`, over an older report there.

    on_step: called before each step with its name, the number of steps done and the number of all steps
    Raises UsageError for a folder that cannot be written.
    """
    check_folder(folder)
    rows = plots_for(data)
    steps = len(rows) + 6
    plots = []
    for index, row in enumerate(rows):
        on_step(row.title, index, steps)
        plots.append(draw(row, data))
    files: Sequence[tuple[str, Callable[[], str]]] = (
        ("index.html", lambda: render_page(data, plots)),
        ("trials.csv", lambda: trials_csv(data)),
        ("best_trials.csv", lambda: best_csv(data)),
        ("importances.csv", lambda: importances_csv(data)),
        ("curves.csv", lambda: curves_csv(data)),
        ("report.json", lambda: report_json(data, plots)),
    )
    for index, (name, content) in enumerate(files):
        on_step(name, len(rows) + index, steps)
        write_file(folder / name, content())
    on_step("done", steps, steps)
    return WrittenReport(folder, tuple(folder / name for name, _ in files), tuple(plots))


def check_folder(folder: Path) -> None:
    """Make the folder, and check now that hpo can write to it, before minutes of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {folder}: {error.strerror or error}",
            next="name another folder with --out",
        ) from error


def write_file(path: Path, text: str) -> None:
    """A file of a report, whole or not there. Raises UsageError where it cannot be written."""
    try:
        write_atomically(path, text.encode(errors="backslashreplace"))
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}", next="free some space, or name another folder with --out"
        ) from error
