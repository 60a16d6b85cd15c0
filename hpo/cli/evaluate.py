"""`hpo evaluate`: how good the best of a search really is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import (
    DeviceOption,
    JsonOption,
    NameOption,
    QuietOption,
    StorageOption,
    StoredStudyOption,
    TrainersOption,
    TrainersPerGpuOption,
)

if TYPE_CHECKING:
    from hpo.evaluation.evaluate import EvaluationProgress

__all__ = ["evaluate"]


def evaluate(
    study: StoredStudyOption,
    top: Annotated[
        int,
        typer.Option("--top", metavar="N", min=1, help="Best configurations to retrain besides the baseline."),
    ] = 3,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="Runs of each configuration, each with a fresh seed.")
    ] = 5,
    known: Annotated[
        bool, typer.Option("--known", help="Also retrain the configurations that the study lists as known.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Output folder. Default: reports/NAME.", show_default=False),
    ] = None,
    storage: StorageOption = None,
    device: DeviceOption = None,
    trainers: TrainersOption = None,
    trainers_per_gpu: TrainersPerGpuOption = 1,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Retrain the best configurations and the baseline with fresh seeds, and score each run once on the test split.

    Says whether the best beats the baseline beyond chance, and saves the winner. Ctrl-C is safe: finished runs are
    kept, and the same command resumes.
    """
    from hpo.cli.output import emit_json, emit_rich, notice
    from hpo.evaluation.evaluate import EvaluateOptions
    from hpo.evaluation.evaluate import evaluate as evaluate_study
    from hpo.settings import Settings

    with _progress(quiet=quiet) as display:
        done = evaluate_study(
            study,
            EvaluateOptions(
                top=top,
                seeds=seeds,
                known=known,
                out=out,
                name=name,
                storage=storage,
                devices=device,
                trainers=trainers,
                trainers_per_gpu=trainers_per_gpu,
                on_progress=display.progress,
                on_notice=display.notice,
            ),
            Settings.read(),
        )
    if done.interrupted is not None:
        progress = done.progress
        notice(f"stopped: {progress.runs_done} of {progress.runs} runs are done; run the same command again to resume")
        return 128 + done.interrupted
    assert done.document is not None
    if as_json:
        emit_json(done.document)
        return 0
    from hpo.cli.evaluation_tables import evaluation_parts

    emit_rich(*evaluation_parts(done.document, done.folder, study))
    return 0


class _Display:
    """A bar over all epochs on a terminal, a line per tenth of the runs elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        from hpo.cli.output import progress_console

        console = progress_console()
        self._quiet = quiet
        self._plain = quiet or not console.is_terminal
        self._said = -1
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=self._plain,
            transient=True,
        )
        self._task = self.bar.add_task("starting trainers", total=None)

    def progress(self, progress: EvaluationProgress) -> None:
        text = f"{progress.runs_done} of {progress.runs} runs"
        started = progress.epochs_done > 0
        self.bar.update(
            self._task, description=text, completed=progress.epochs_done, total=progress.epochs if started else None
        )
        tenth = 10 * progress.runs_done // max(progress.runs, 1)
        if self._plain and not self._quiet and tenth != self._said:
            self._said = tenth
            self.notice(text)

    def notice(self, text: str) -> None:
        from hpo.cli.output import notice
        from hpo.printable import one_line

        if self._plain:
            notice(text)
        else:
            self.bar.console.print(one_line(text), markup=False)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[_Display]:
    display = _Display(quiet=quiet)
    with display.bar:
        yield display
