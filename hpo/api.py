"""`hpo.run`: a search from Python, in a script or a notebook; the command line calls the same function."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.errors import UsageError
from hpo.result import Result
from hpo.search.budget import check_trials
from hpo.search.failure_tracker import check_not_all_failed
from hpo.search.options import RunOptions
from hpo.search.search import run_search
from hpo.settings import Settings
from hpo.study.discovery import FoundStudy, find_study
from hpo.study.study import Study

__all__ = ["run"]


def run(
    study: str | Study | FoundStudy, *, name: str | None = None, subset: int | None = None, **options: Any
) -> Result:
    """Search until the budget is used up, and return what was found. Resumes what an earlier run left.

    study:  a name from studies/, a path to a .py file (with `:attribute`), "module:attribute", or a Study
    name:   store the trials under another name; subset: train on only this many images
    timeout, trials: the budget. Without either the search runs until Ctrl-C (a grid: until it is done), and says so
    storage, devices, workers, workers_per_gpu, enqueue_known, changed_code: as on the command line
    worker: join an existing study instead of starting one; its budget stays, and `timeout` limits this worker alone
    ray:    the address of a Ray cluster, or "local": search on every node of it
    Raises HpoError for anything the caller must act on; every trial is released safely first.
    """
    found = _found(study)
    changes: dict[str, Any] = {key: value for key, value in (("name", name), ("subset", subset)) if value is not None}
    if changes:
        words = [found.reference, *(f"--{key} {value}" for key, value in changes.items())]
        found = replace(found, study=replace(found.study, **changes), reference=" ".join(words))
    chosen = RunOptions(**options)
    check_trials(chosen.trials)
    search = run_search if chosen.ray is None else _run_on_ray
    result = search(found, chosen, Settings.read())
    if result.exit_code == 0 and not chosen.worker:
        check_not_all_failed(result.study, result.counts, result.frozen)
    return result


def _run_on_ray(found: FoundStudy, options: RunOptions, settings: Settings) -> Result:
    try:
        from hpo.ray.driver import run_on_ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UsageError("Ray is not installed", next="pip install ray, here and on every node") from error
    return run_on_ray(found, options, settings)


def _found(study: str | Study | FoundStudy) -> FoundStudy:
    if isinstance(study, FoundStudy):
        return study
    if isinstance(study, Study):
        # Trainers import the model by name, so they need the folders this process imports from.
        return FoundStudy(study, Path(sys.argv[0] or "."), tuple(path for path in sys.path if path) or ("",))
    return find_study(study)
