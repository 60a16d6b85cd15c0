"""Read trials in bulk: two statements, however many, on PostgreSQL and SQLite alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Select, String, cast, func, literal, null, select, union_all
from sqlalchemy.sql import ColumnElement

from hpo.decoding import Undecodable, decoded, decoded_or
from hpo.own_metrics import metrics_from
from hpo.storage import tables
from hpo.storage.optuna_internals import is_system_attribute
from hpo.storage.optuna_schema import (
    DIRECTIONS,
    INTERMEDIATE,
    PARAMS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
    as_value,
    distribution_from,
    is_numbered,
    parameter_value,
    table,
)
from hpo.storage.save import local_time

__all__ = ["LARGEST_ID", "STATE_NAMED", "read_changes", "read_epochs", "read_failed", "read_metrics", "states"]

_trials = table(TRIALS)
STATE_NAMED = {state.name: state for state in TrialState}


LARGEST_ID = 2**31 - 1
"""Of an integer column: no trial has a larger id."""


def read_changes(
    connection: Connection, study_id: int, after_trial_id: int = -1, also: Sequence[int] = ()
) -> list[FrozenTrial]:
    """Trials of the study with an id above `after_trial_id` or in `also`, by id, exactly as Optuna would show them.

    Ids grow in the order of commits, because every creator of trials (stock Optuna too) locks the study first.
    """
    which = _trials.c.trial_id > after_trial_id
    if also:
        which |= _trials.c.trial_id.in_(list(also))
    which &= (_trials.c.study_id == study_id) & is_numbered(_trials)
    directions = table(DIRECTIONS)
    objectives = select(func.count()).where(directions.c.study_id == study_id).scalar_subquery()
    rows = connection.execute(
        select(
            _trials.c.trial_id,
            _trials.c.number,
            cast(_trials.c.state, String),
            _trials.c.datetime_start,
            _trials.c.datetime_complete,
            objectives.label("objectives"),
        )
        .where(which)
        .order_by(_trials.c.trial_id)
    ).all()
    if not rows:
        return []
    trials = {
        row[0]: FrozenTrial(
            number=row[1],
            state=STATE_NAMED[row[2]],
            value=None,
            datetime_start=local_time(row[3]),
            datetime_complete=local_time(row[4]),
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=row[0],
        )
        for row in rows
    }
    _fill(connection, trials, which if len(trials) > 200 else _trials.c.trial_id.in_(list(trials)))
    for trial in trials.values():
        _believe(trial, rows[0].objectives)
    return list(trials.values())


def read_epochs(connection: Connection, study_id: int) -> list[dict[str, Any]]:
    """Every row of hpo_epochs of the study, by trial number and epoch, with `trial` (the number) for the trial's id and
    `metrics` as a mapping, empty where the trial reported none of its own."""
    epochs = tables.epochs
    columns = [column for column in epochs.c if column.name != "trial_id"]
    query = (
        select(_trials.c.number.label("trial"), *columns)
        .join(_trials, _trials.c.trial_id == epochs.c.trial_id)
        .where(_trials.c.study_id == study_id)
        .order_by(_trials.c.number, epochs.c.epoch)
    )
    return [{**row, "metrics": _metrics(row["metrics"])} for row in connection.execute(query).mappings()]


def read_metrics(connection: Connection, study_id: int) -> dict[int, dict[str, float]]:
    """By number of the trial, the last value of each metric of the user's own."""
    epochs = tables.epochs
    query = (
        select(_trials.c.number, epochs.c.metrics)
        .join(_trials, _trials.c.trial_id == epochs.c.trial_id)
        .where((_trials.c.study_id == study_id) & epochs.c.metrics.is_not(None))
        .order_by(_trials.c.number, epochs.c.epoch)
    )
    found: dict[int, dict[str, float]] = {}
    for trial, text in connection.execute(query):
        found.setdefault(trial, {}).update(_metrics(text))
    return found


def _metrics(text: str | None) -> dict[str, float]:
    return {} if text is None else metrics_from(decoded_or(text, {}))


def read_failed(connection: Connection, study_id: int) -> list[FrozenTrial]:
    """Every FAIL trial of the study, by id, as `read_changes` gives it."""
    query = select(_trials.c.trial_id).where(_trials.c.study_id == study_id, _trials.c.state == TrialState.FAIL)
    ids = list(connection.execute(query).scalars())
    return read_changes(connection, study_id, LARGEST_ID, ids) if ids else []


def states(connection: Connection, trial_ids: Iterable[int]) -> dict[int, TrialState]:
    """The state of each of these trials; a deleted one is missing from the answer."""
    query = select(_trials.c.trial_id, _trials.c.state).where(_trials.c.trial_id.in_(list(trial_ids)))
    return {row[0]: row[1] for row in connection.execute(query)}


def _fill(connection: Connection, trials: dict[int, FrozenTrial], which: ColumnElement[bool]) -> None:
    """Everything that belongs to the trials, as one union of rows (kind, trial, id, key, number, text, order)."""
    params, values, intermediate = (table(name) for name in (PARAMS, VALUES, INTERMEDIATE))
    user, system = table(USER_ATTRS), table(SYSTEM_ATTRS)
    no_key, no_number = cast(null(), String), cast(null(), values.c.value.type)

    def part(kind: int, source: Any, key: Any, number: Any, words: Any, order: Any) -> Select[Any]:
        columns = (literal(kind), source.c.trial_id, key, number, words, order)
        labels = ("kind", "trial_id", "name", "number", "words", "place")
        wanted = source.c.trial_id.in_(select(_trials.c.trial_id).where(which))
        if key is not no_key:
            wanted &= key.is_not(None)  # what somebody else left without its name is as if it were not there
        return select(*(column.label(label) for column, label in zip(columns, labels, strict=True))).where(wanted)

    union = union_all(
        part(0, params, params.c.param_name, params.c.param_value, params.c.distribution_json, params.c.param_id),
        part(1, values, no_key, values.c.value, cast(values.c.value_type, String), values.c.objective),
        part(
            2,
            intermediate,
            no_key,
            intermediate.c.intermediate_value,
            cast(intermediate.c.intermediate_value_type, String),
            intermediate.c.step,
        ),
        part(3, user, user.c.key, no_number, user.c.value_json, user.c.trial_user_attribute_id),
        part(4, system, system.c.key, no_number, system.c.value_json, system.c.trial_system_attribute_id),
    ).subquery()
    # Ordered by the database: parameters in the order they were suggested, steps and objectives ascending.
    query = select(union).order_by(union.c.trial_id, union.c.kind, union.c.place)
    for kind, trial_id, name, number, words, place in connection.execute(query).all():
        trial = trials.get(trial_id)
        if trial is not None:  # created between the two statements: the next read brings it
            _add(trial, kind, name, number, words, place)


def _add(trial: FrozenTrial, kind: int, name: Any, number: Any, words: Any, place: int) -> None:
    if kind == 2:
        trial.intermediate_values[place] = as_value(number, words)
    elif kind == 0:
        _add_parameter(trial, name, number, words)
    elif kind == 1:
        trial.values = [*(trial.values or ()), as_value(number, words)]
    else:
        with suppress(Undecodable):
            value = decoded(words)
            if kind == 3:
                trial.user_attrs[name] = value
            elif is_system_attribute(name, value):
                trial.system_attrs[name] = value


def _add_parameter(trial: FrozenTrial, name: str, number: Any, words: str) -> None:
    """A parameter is left out if it gives no distribution, or if its value is outside the distribution."""
    try:
        distribution = distribution_from(words)
        trial.params[name] = parameter_value(distribution, number)
    except Exception:  # noqa: BLE001  # Optuna's reader, given a text and a number that may be anything
        return
    trial.distributions[name] = distribution


def _believe(trial: FrozenTrial, objectives: int) -> None:
    """A complete trial without a value for each objective counts as failed; Optuna never leaves one behind."""
    values = trial.values or []
    if trial.state == TrialState.COMPLETE and (len(values) != objectives or any(math.isnan(each) for each in values)):
        trial.state, trial.values = TrialState.FAIL, None
