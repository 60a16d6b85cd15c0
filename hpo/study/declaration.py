"""A study's table as text, and whether it is as it was when its first trial ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.errors import DeclarationChanged
from hpo.messages import Protocol
from hpo.study.evolving import compared
from hpo.wording import shortened

__all__ = ["changed_lines", "check_same_declaration", "declared", "protocol_of"]

SHOWN = 20
"""The most changed rows that an error shows; a database may hold any number."""


def check_same_declaration(study: Any, stored: Mapping[str, str], finished: int) -> None:
    """Raise DeclarationChanged with the rows in which a hpo.study.study.Study differs from what it was started with."""
    lines = changed_lines(stored, study.declaration())
    if not lines:
        return
    rows = f"the row{'s' if len(lines) > 1 else ''} above"
    kept = not compared(study, stored).lost
    raise DeclarationChanged(
        f'study "{study.name}" was started with a different table ({finished} finished trials)',
        evidence=lines,
        next=f"`hpo run --evolve` goes on with it, and keeps every trial; or restore {rows}"
        if kept
        else f"give the study a new name (--name), or restore {rows}",
    )


def changed_lines(stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The rows in which two tables differ, each as a line; at most SHOWN."""
    names = [*stored, *(row for row in now if row not in stored)]
    changed = [row for row in names if stored.get(row) != now.get(row)]
    width = max((len(shortened(row)) for row in changed), default=0)
    return [
        f"{shortened(row):<{width}}  {shortened(stored.get(row, '-'), 200)}   ->   {now.get(row, '-')}"
        for row in changed[:SHOWN]
    ]


def declared(study: Any) -> dict[str, str]:
    """Every row of a hpo.study.study.Study that decides what a trial means, as text."""
    values = ", ".join(f"{d} {m}" for m, d in zip(study.objectives, study.directions, strict=True))
    if study.own is not None:
        return _own(study, {"(function)": study.own.shown}, values)
    if study.program is not None:
        return _own(study, study.program.declaration(), values)
    protocol: dict[str, Any] = {
        "dataset": study.dataset_name,
        "inputs": study.dataset_row.inputs_shown,
        "targets": study.dataset_row.targets,
        "model": study.model_name,
        "objective": values,
        "epochs": study.epochs,
        "early_stopping": study.early_stopping,
        "stop_when": study.stop_when,
        "max_seconds": study.max_seconds,
        "constraints": ", ".join(str(c) for c in study.constraints) or None,
        "validation": study.validation,
        "folds": study.folds,
        "seeds": study.seeds,
        "subset": study.subset,
        "seed": study.seed,
        "sampler": study.sampler,
        "pruner": study.pruner,
        "search": study.search,
        "repeat": study.repeat or None,
    }
    return {**study.rows.describe(), **study.parts.declaration(), **_shown(protocol)}


def _own(study: Any, training: Mapping[str, str], values: str) -> dict[str, str]:
    lasts = {"epochs": study.epochs, "max_seconds": study.max_seconds} if study.train is not None else {}
    search = {"seed": study.seed, "sampler": study.sampler, "pruner": study.pruner, "search": study.search,
              "repeat": study.repeat or None}  # fmt: skip
    return {**study.rows.describe(), **training, "(objective)": values, **_shown(lasts), **_shown(search)}


def _shown(settings: Mapping[str, Any]) -> dict[str, str]:
    return {f"({name})": str(value) for name, value in settings.items() if value is not None}


def protocol_of(study: Any) -> Protocol:
    """The rules of every trial of a hpo.study.study.Study, as a job carries them."""
    return Protocol(
        epochs=study.epochs,
        objectives=study.objectives,
        early_stopping=study.early_stopping.rule() if study.early_stopping else None,
        stop_when=study.stop_when.rule() if study.stop_when else None,
        max_seconds=study.max_seconds,
        validation=study.validation,
        split_seed=study.seed,
        folds=study.folds,
        seeds=study.seeds,
        subset=study.subset,
        measure_latency="latency_ms" in (*study.objectives, *(c.metric for c in study.constraints)),
        compare_with=study.baseline_config if any(c.of_network for c in study.constraints) else None,
    )
