"""What a study's queue holds before its first trial: the baseline, the points of a grid, what others found best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from hpo.storage import queries
from hpo.storage.trial_record import TrialRecord
from hpo.study.samplers import Grid
from hpo.study.study import Study

__all__ = ["enqueue", "fill_queue", "lay_out"]


def fill_queue(connection: Connection, study: Study, study_id: int, earlier: Mapping[str, Mapping[str, Any]]) -> None:
    """The baseline is trial 0, so that every report can say "better than"; then what earlier studies found best, by
    where it comes from; then all points of a grid, if it is one."""
    if study.has_baseline:
        enqueue(connection, study_id, study, [study.baseline], "baseline")
        if study.stop is not None and study.stop.noise is None and study.seeds is None:
            # The noise between seeds, which Converged() goes by, is seen in what one configuration comes to.
            enqueue(connection, study_id, study, [study.baseline] * (study.stop.repeats - 1), "repeat", repeat=True)
    queries.enqueue(connection, study_id, [(dict(params), TrialRecord(origin=of)) for of, params in earlier.items()])
    lay_out(connection, study, study_id)


def lay_out(connection: Connection, study: Study, study_id: int) -> None:
    """Enqueue the points of a grid that are not in the queue yet."""
    if isinstance(study.sampler, Grid):
        points: list[tuple[dict[str, Any], TrialRecord]] = [
            (point, {}) for point in study.sampler.points(study.rows, study.seed)
        ]
        queries.enqueue(connection, study_id, points)


def enqueue(
    connection: Connection,
    study_id: int,
    study: Study,
    configs: Sequence[Mapping[str, Any]],
    origin: str,
    *,
    repeat: bool = False,
) -> None:
    """Put configurations into the queue; one that was in it before only where it is to `repeat`."""
    entries = [
        (
            study.parameters(config, what=origin, complete=False),
            TrialRecord(origin=origin if origin == "baseline" and number == 1 else f"{origin} {number}"),
        )
        for number, config in enumerate(configs, start=1)
    ]
    queries.enqueue(connection, study_id, entries, repeat=repeat)
