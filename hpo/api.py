"""`hpo.run`: a search from Python, in a script or a notebook; the command line calls the same function."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.errors import StudyError, UsageError
from hpo.result import Result
from hpo.search.budget import check_trials
from hpo.search.failure_tracker import check_not_all_failed
from hpo.search.listening import Listeners, heard
from hpo.search.notifying import Notifier
from hpo.search.options import RunOptions
from hpo.search.search import run_search
from hpo.settings import RENAMED, Settings
from hpo.study.discovery import FoundStudy, find_study
from hpo.study.fields import CALLBACKS
from hpo.study.objective import Objective
from hpo.study.objective_study import ObjectiveOptions, study_of
from hpo.study.pruners import Pruner
from hpo.study.samplers import Sampler
from hpo.study.study import Study
from hpo.wording import shortened

__all__ = ["run"]


def run(
    study: str | Study | FoundStudy | Callable[..., Any],
    *,
    name: str | None = None,
    subset: int | None = None,
    direction: str | Sequence[str] = (),
    metric: str | Sequence[str] | None = None,
    sampler: str | Sampler | None = None,
    pruner: str | Pruner | None = None,
    **options: Any,
) -> Result:
    """Search until the budget is used up, and return what was found. Resumes what an earlier run left.

    study:  a name from studies/, a path to a .py file (with `:attribute`), "module:attribute", or a Study; or an
            objective such as study.optimize takes, as a function or by name ("train.py:objective")
    direction, metric, sampler, pruner: for an objective: "minimize" or "maximize", or one for each value it returns;
            the names of these values; a Sampler or Pruner, or its name on the command line ("tpe", "none")
    name:   store the trials under another name; subset: train on only this many images
    timeout, trials: the budget. Without either the search runs until Ctrl-C (a grid: until it is done), and says so
    storage, devices, trainers, trainers_per_gpu, devices_per_trial, enqueue_known, changed_code, retry_failed, evolve,
    tensorboard, tracker, notify: as on the command line
    on_trial_end, on_new_best: functions of (study, trial), on_end of a Result; called besides those of the Study. One
            that fails is said once, one that is slow holds up no training
    worker: join an existing study instead of starting one; its budget stays, and `timeout` limits this worker alone
    ray:    the address of a Ray cluster, or "local": search on every node of it
    Raises HpoError for anything that the caller must act on; every trial is released safely first.
    """
    _check_not_in_a_trainer()
    said = ObjectiveOptions(_tuple(direction) or (), _tuple(metric), sampler, pruner)
    found = _found(study, said)
    changes: dict[str, Any] = {key: value for key, value in (("name", name), ("subset", subset)) if value is not None}
    if changes:
        words = [found.reference, *(f"--{key} {value}" for key, value in changes.items())]
        found = replace(found, study=replace(found.study, **changes), reference=" ".join(words))
    chosen = RunOptions(**_renamed(options))
    check_trials(chosen.trials)
    search = run_search if chosen.ray is None else _run_on_ray
    result = search(found, chosen, Settings.read())
    if result.exit_code == 0 and not chosen.worker and chosen.foreground is None:
        check_not_all_failed(result.study, result.counts, result.frozen)
    return result


def _check_not_in_a_trainer() -> None:
    """A trainer imports the user's file: a search that begins there would start trainers, which import it again."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == "hpo.trainer":
        raise StudyError(
            "hpo.run was called when a trainer imported this file, and would start a search in every trial",
            next='put it under `if __name__ == "__main__":`; Python then runs it, and a trainer does not',
        )


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """`options` under today's names. UsageError where both names of one are given."""
    both = [(old, new) for old, new in RENAMED.items() if old in options and new in options]
    if both:
        old, new = both[0]
        raise UsageError(f"{new} and its old name {old} are both given", next=f"leave {old} out")
    for old in RENAMED.keys() & options.keys():
        warnings.warn(f"{old} is now called {RENAMED[old]}", DeprecationWarning, stacklevel=3)
    return {RENAMED.get(name, name): value for name, value in options.items()}


def _run_on_ray(found: FoundStudy, options: RunOptions, settings: Settings) -> Result:
    try:
        from hpo.ray.driver import run_on_ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError("Ray is not installed", next="pip install ray, here and on every node") from error
    for name in ("tracker", *CALLBACKS):
        if getattr(options, name) is not None:
            raise UsageError(
                f"{name} belongs to the process that trains, and with Ray that is one of another node",
                next="leave it out" if name == "tracker" else f"give {name} to the Study, which every node imports",
            )
    # The nodes call what the study itself declares; only this process knows when all of them have ended.
    listeners = Listeners([Notifier(found.study.name, options.notify)] if options.notify else [])
    return heard(listeners, lambda: run_on_ray(found, options, settings))


def _found(study: str | Study | FoundStudy | Callable[..., Any], options: ObjectiveOptions) -> FoundStudy:
    if isinstance(study, FoundStudy):
        return study
    # Trainers import by name, so they need the folders this process imports from; "" is the current one.
    here = tuple(path or str(Path.cwd()) for path in sys.path)
    if isinstance(study, Study):
        return FoundStudy(study, Path(sys.argv[0] or "."), here)
    if callable(study):
        objective = Objective(study, options.metrics, options.directions)
        return FoundStudy(study_of(objective, options), Path(objective.place), here)
    if not isinstance(study, str):
        raise UsageError(
            f"hpo.run takes a Study, its name or file, or an objective, not {shortened(repr(study))}",
            next='hpo.run("mlp_digits"), hpo.run(study) or hpo.run(objective, direction="minimize")',
        )
    return find_study(study, options)


def _tuple(said: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return None if said is None else (said,) if isinstance(said, str) else tuple(said)
