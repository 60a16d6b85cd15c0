"""`hpo.run`: a search from Python, in a script or a notebook; the command line calls the same function."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.coordinator.assembly import RunOptions, assemble
from hpo.coordinator.budget import check_trials
from hpo.coordinator.signals import caught_signals, waker, why_left
from hpo.coordinator.snapshot import Best
from hpo.coordinator.streaks import check_not_all_failed
from hpo.discovery import FoundStudy, find_study
from hpo.duration import parse_duration
from hpo.errors import StorageError, UsageError
from hpo.settings import Settings
from hpo.study import Study

if TYPE_CHECKING:
    import pandas
    from optuna.trial import FrozenTrial

    from hpo.coordinator.loop import Loop


__all__ = ["Result", "RunOptions", "run"]


@dataclass(frozen=True)
class Result:
    """What a run left: the study as this process knows it.

    stopped: "deadline", "trials", "exhausted", "interrupted" (Ctrl-C), "terminated" (SIGTERM) or
             "hangup" (SIGHUP: the terminal was closed)
    """

    study: str
    stopped: str
    best: Best | None
    counts: Mapping[str, int]
    frozen: tuple[FrozenTrial, ...] = field(repr=False)

    @property
    def trials(self) -> pandas.DataFrame:
        """Every trial as a row: number, state, value, seconds and one column per parameter."""
        import pandas

        return pandas.DataFrame(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.values[0] if trial.values else None,
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                **trial.params,
            }
            for trial in self.frozen
        )

    @property
    def exit_code(self) -> int:
        return {"interrupted": 130, "terminated": 143, "hangup": 129}.get(self.stopped, 0)


def run(
    study: str | Study | FoundStudy, *, name: str | None = None, subset: int | None = None, **options: Any
) -> Result:
    """Search until the budget is used up, and return what was found. Resumes what an earlier run left.

    study:  a name from studies/, a path to a .py file (with `:attribute`), "module:attribute", or a Study
    name:   store the trials under another name; subset: train on so many images only
    timeout, trials: the budget. Without either this goes on until Ctrl-C (a grid: until it is done), and says so
    storage, devices, workers, workers_per_gpu, enqueue_known, changed_code: as on the command line
    worker: join a study that exists instead of starting one; its budget is kept, and `timeout` is this worker's own
    ray:    the address of a Ray cluster, or "local": search on every node of it
    Raises HpoError for anything the caller must act on; every trial is put down safely first.
    """
    found = _found(study)
    changes: dict[str, Any] = {key: value for key, value in (("name", name), ("subset", subset)) if value is not None}
    if changes:
        words = [found.reference, *(f"--{key} {value}" for key, value in changes.items())]
        found = replace(found, study=replace(found.study, **changes), reference=" ".join(words))
    chosen = RunOptions(**options)
    result = _run(found, chosen, Settings.read())
    if result.exit_code == 0 and not chosen.worker:
        check_not_all_failed(result.study, result.counts, result.frozen)
    return result


def _run(found: FoundStudy, options: RunOptions, settings: Settings) -> Result:
    timeout = parse_duration(options.timeout) if options.timeout is not None else None
    check_trials(options.trials)
    if options.ray is not None:
        return _run_on_ray(found, options, timeout, settings)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        assembled = assemble(found, options, timeout, settings, ours, waker(theirs))
        loop = assembled.loop
        if options.on_started is not None:
            options.on_started(_stopper(loop))
        with caught_signals(loop, theirs) as received:
            try:
                reason = loop.run()
            finally:
                left = assembled.close(_closing_seconds(settings, received, assembled.ledger.outage.seconds))
                kept = assembled.keep(left) if left else ""
        assembled.progress.show(loop.counts, loop.deadline, [], last=True)
        assembled.progress.close()
        if kept or reason == "database":
            again = found.reference or found.study.name
            raise StorageError(
                "the database was away when this process had to leave",
                evidence=[kept or "it came back in the last moment and has every outcome"],
                next=f"`hpo run --study {again}` when it answers writes what is kept here and goes on",
            )
    stopped = why_left(received) if reason == "signal" else reason
    return Result(
        found.study.name, stopped, assembled.progress.best(), assembled.counts(), tuple(assembled.asker.trials())
    )


def _run_on_ray(found: FoundStudy, options: RunOptions, timeout: float | None, settings: Settings) -> Result:
    try:
        from hpo.ray import run_on_ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError("Ray is not installed", next="pip install ray, here and on every node") from error
    return run_on_ray(found, options, timeout, settings)


def _stopper(loop: Loop) -> Callable[[], None]:
    def stop() -> None:
        loop.interrupted = True

    return stop


def _found(study: str | Study | FoundStudy) -> FoundStudy:
    if isinstance(study, FoundStudy):
        return study
    if isinstance(study, Study):
        # Trainers import the model by name, so they need the folders this process imports from.
        return FoundStudy(study, Path(sys.argv[0] or "."), tuple(path for path in sys.path if path) or ("",))
    return find_study(study)


def _closing_seconds(settings: Settings, received: list[int], away_seconds: float) -> float:
    """How long to wait for the database at the end; a process told to leave has eight seconds in all."""
    return 3.0 if received else max(1.0, settings.patience_seconds - away_seconds)
