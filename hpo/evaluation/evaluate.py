"""`hpo evaluate`: choose, retrain, score once, compare, save. Finished runs are kept: an interrupted one resumes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from hpo.errors import StudyError, UsageError
from hpo.evaluation.candidates import Candidate, choose
from hpo.evaluation.document import document, winner, write_document
from hpo.evaluation.open_evaluation import OpenedEvaluation, open_evaluation
from hpo.evaluation.own_winner import save_own_winner
from hpo.evaluation.run_scheduler import RunScheduler
from hpo.evaluation.runs import EvaluationRun, RunResult, final_run, search_run
from hpo.evaluation.winner_files import save_winner
from hpo.messages import Epoch
from hpo.ownership import links_below, remove_folder
from hpo.results.evaluation import EvaluationDocument, search_score_of
from hpo.seeds import trial_seed
from hpo.settings import Settings
from hpo.signals import caught_signals
from hpo.storage.artifacts import attach
from hpo.storage.engine import storage_error
from hpo.storage.evaluations import read_runs, save_evaluation, save_run
from hpo.storage.trial_record import record_of
from hpo.trainers.devices import find_slots

__all__ = ["EvaluateOptions", "Evaluation", "EvaluationProgress", "evaluate"]


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation has come."""

    runs_done: int
    runs: int
    epochs_done: int
    epochs: int


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of `hpo evaluate`; see its --help."""

    top: int = 3
    seeds: int = 5
    known: bool = False
    out: Path | None = None
    name: str | None = None
    storage: str | None = None
    devices: str | None = None
    trainers: int | None = None
    trainers_per_gpu: int = 1
    on_progress: Callable[[EvaluationProgress], None] = lambda progress: None
    on_notice: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Evaluation:
    """document: see docs/evaluation.md; None when interrupted. folder: where evaluation.json and winner/ are.

    interrupted: the signal that stopped it, else None
    """

    document: EvaluationDocument | None
    folder: Path
    progress: EvaluationProgress
    interrupted: int | None = None


def evaluate(reference: str, options: EvaluateOptions, settings: Settings) -> Evaluation:
    """Evaluate the study that `reference` names. Raises HpoError for anything that the user must act on."""
    if options.top < 1 or options.seeds < 1:
        raise UsageError(f"--top {options.top} and --seeds {options.seeds} must be at least 1")
    specs = find_slots(
        options.devices or settings.devices,
        trainers=options.trainers,
        trainers_per_gpu=options.trainers_per_gpu,
        environ=os.environ,
    )
    opened = open_evaluation(reference, options.name, options.storage, settings)
    scratch = settings.checkpoint_dir / f"{opened.found.study.name}-{opened.uid}" / "evaluation"
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs, _alone(scratch, opened.view.name):
            for end in (ours, theirs):
                end.setblocking(False)
            session = _Session(opened, options, settings, scratch)
            scheduler = RunScheduler(
                specs, ours, on_epoch=session.epoch, on_result=session.result, on_notice=options.on_notice
            )
            with caught_signals(scheduler, theirs) as received, scheduler:
                finished = session.work(scheduler)
            if not finished:
                return Evaluation(None, session.folder, session.progress, received[0] if received else signal.SIGINT)
            return Evaluation(session.conclude(), session.folder, session.progress)
    finally:
        opened.engine.dispose()


class _Session:
    """A running evaluation."""

    def __init__(self, opened: OpenedEvaluation, options: EvaluateOptions, settings: Settings, scratch: Path) -> None:
        self.opened, self.options, self.settings, self.scratch = opened, options, settings, scratch
        study = opened.found.study
        self.folder = (options.out or Path("reports") / study.name).absolute()
        self.candidates = choose(study, opened.view, top=options.top, known=options.known)
        used = {trial_seed(study.seed, trial.number) for trial in opened.view.trials}
        used |= {record["seed"] for record in map(record_of, opened.view.trials) if "seed" in record}
        # Seed by seed, not configuration by configuration: if it is cut short, every configuration has had some runs.
        self.runs = [
            final_run(opened.found, candidate, index, used, scratch)
            for index in range(options.seeds)
            for candidate in self.candidates
        ]
        self.results: dict[str, RunResult] = {}
        self.epochs_done = 0
        self.extra: list[EvaluationRun] | None = None  # the winner's, once it is known

    @property
    def progress(self) -> EvaluationProgress:
        planned = [*self.runs, *(self.extra or ())]
        total = sum(run.epochs for run in planned)
        done, many = sum(1 for run in planned if run.key in self.results), len(planned)
        if self.extra is None:  # the winner is trained once more, as in the search: counted from the start
            total, many = total + max(run.epochs for run in self.runs), many + 1
        return EvaluationProgress(done, many, min(self.epochs_done, total), total)

    def work(self, scheduler: RunScheduler) -> bool:
        """Train everything that is not done yet; False when a signal came first."""
        with self._database() as connection:
            stored = read_runs(connection, self.opened.study_id)
        kept = {run.key: RunResult.from_json(stored.get(run.key)) for run in self.runs}
        self.results = {key: result for key, result in kept.items() if result is not None}
        self.epochs_done = sum(run.epochs for run in self.runs if run.key in self.results)
        if self.results:
            self.options.on_notice(f"{len(self.results)} of {len(self.runs)} runs are done already")
        self.options.on_progress(self.progress)
        if not scheduler.run([run for run in self.runs if run.key not in self.results]):
            return False
        return self._train_winner(scheduler, stored)

    def epoch(self, run: EvaluationRun, epoch: Epoch) -> None:
        self.epochs_done += 1
        self.options.on_progress(self.progress)

    def result(self, run: EvaluationRun, result: RunResult) -> None:
        self.results[run.key] = result
        if result.deterministic:
            with self._database() as connection:
                save_run(connection, self.opened.study_id, run.key, result.as_json())
        if not result.complete:
            self.options.on_notice(f"{run.label}: {result.finished.outcome}: {result.finished.reason}")
        self.options.on_progress(self.progress)

    def conclude(self) -> EvaluationDocument:
        """Write and store everything. Returns the document."""
        made, study = self._document(), self.opened.found.study
        row = winner(made["configurations"], self._direction)
        assert row is not None
        final, search = self._winning_runs(row["key"])
        again, before = self.results[search.key].finished.metrics.get(study.judged_by), search_score_of(row)
        made["search_rerun"] = {"val_accuracy": None, "same": again == before if before is not None else None}
        made["search_rerun"]["val_accuracy" if study.judged_by == "val_accuracy" else "score"] = again
        facts = {"study": made["study"], "evaluated_at": made["evaluated_at"], "verdict": made["verdict"]["sentence"]}
        pairs = [(run, self.results[run.key]) for run in (final, search)]
        save = save_winner if study.own is None else save_own_winner
        files = save(self.folder / "winner", row, pairs[0], pairs[1], facts)
        files.append(self.folder / "evaluation.json")
        write_document(files[-1], made)
        with self._database() as connection:
            save_evaluation(connection, self.opened.study_id, made)
        trial = next((one for one in self.opened.view.trials if one.number == row["trial"]), None)
        attach(files, trial, self.opened.study_id, self.opened.engine, self.settings)
        self._remove_weights_except({final.folder, search.folder})
        return made

    def _train_winner(self, scheduler: RunScheduler, stored: dict[str, Any]) -> bool:
        """Make sure that the winner's weights are there, of its first run and of its training as in the search."""
        row = winner(self._document()["configurations"], self._direction)
        if row is None:
            failed = [result.finished for result in self.results.values()]
            raise StudyError(
                "no run of the evaluation is complete",
                evidence=sorted({f"{one.outcome}: {one.reason}" for one in failed}) + list(failed[0].details[-6:]),
                next="fix the errors above; the same command then resumes",
            )
        final, search = self._winning_runs(row["key"])
        missing = []
        own = self.opened.found.study.own is not None  # which keeps weights by itself, if at all
        if not own and not (final.folder / "model.safetensors").is_file():
            missing.append(final)
        again = RunResult.from_json(stored.get(search.key))
        if again is not None and (own or (search.folder / "last.safetensors").is_file()):
            self.results[search.key] = again
        else:
            missing.append(search)
        for run in missing:
            remove_folder(run.folder, self.scratch.parents[1])  # an earlier result without weights is useless
        self.extra = missing
        return scheduler.run(missing)

    def _winning_runs(self, key: str) -> tuple[EvaluationRun, EvaluationRun]:
        """The winner's first complete run, so that no test score chooses between its seeds, and its search run."""
        final = next(run for run in self.runs if run.candidate.key == key and self.results[run.key].complete)
        return final, search_run(self.opened.found, final.candidate, self.scratch)

    @property
    def _direction(self) -> str:
        return self.opened.found.study.judged_direction

    def _document(self) -> EvaluationDocument:
        results = {candidate.key: self._results_of(candidate) for candidate in self.candidates}
        return document(self.opened.found.study, self.candidates, results, seeds=self.options.seeds)

    def _results_of(self, candidate: Candidate) -> Sequence[RunResult]:
        return [self.results[run.key] for run in self.runs if run.candidate.key == candidate.key]

    def _remove_weights_except(self, kept: set[Path]) -> None:
        for folder in self.scratch.iterdir():
            if folder.is_dir() and folder not in kept:
                remove_folder(folder, self.scratch.parents[1])

    @contextmanager
    def _database(self) -> Iterator[Any]:
        engine = self.opened.engine
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise storage_error(error, engine.url.render_as_string(hide_password=False)) from error


@contextmanager
def _alone(scratch: Path, name: str) -> Iterator[None]:
    """Hold a lock: two evaluations of one study on one host would train the same runs in the same folders."""
    for link in links_below(scratch, scratch.parents[1]):
        raise UsageError(
            f"{link} is a link, and hpo makes no links there",
            evidence=["hpo writes and removes files there, and would do so wherever the link leads"],
            next="remove the link, or set HPO_CHECKPOINT_DIR to a folder of your own",
        )
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with FileLock(scratch / "lock", timeout=0):
            yield
    except Timeout:
        raise UsageError(
            f'another `hpo evaluate` of "{name}" is running here', next="wait for it, or stop it: its runs are kept"
        ) from None
    except PermissionError as error:
        raise UsageError(f"cannot write to {scratch}", evidence=[str(error)], next="set HPO_CHECKPOINT_DIR") from error
