"""Trials rewritten for a table that widened: their parameters under its distributions, and those of its new rows.

Optuna keeps a distribution with every parameter of every trial. It refuses a categorical parameter whose choices are
not those of an earlier trial, and its samplers model together only what all trials have under one distribution.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from hpo.decoding import Undecodable, decoded_mapping
from hpo.storage.optuna_schema import (
    COMPLETE,
    FAIL,
    FIXED_PARAMS,
    PARAMS,
    PRUNED,
    STUDY_USER_ATTRS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    WAITING,
)
from hpo.storage.retries import forget_training

__all__ = [
    "Added",
    "add_parameter",
    "begin_again",
    "note_epochs",
    "parameters_stored",
    "queued_params",
    "redeclare",
    "rewrite_choices",
    "rewrite_range",
    "set_queued_params",
    "values_stored",
]

_OF_STUDY = f"trial_id IN (SELECT trial_id FROM {TRIALS} WHERE study_id = :study)"


@dataclass(frozen=True)
class Added:
    """A parameter that every trial gets for which its row is active.

    number:     its value as Optuna stores it; distribution: of its row, as text
    conditions: (another parameter, the numbers under which the row is active)
    count:      (the parameter that says how many values the row has, the place of this one among them)
    """

    name: str
    number: float
    distribution: str
    conditions: Sequence[tuple[str, Sequence[float]]] = ()
    count: tuple[str, int] | None = None


def parameters_stored(connection: Connection, study_id: int) -> list[tuple[str, str]]:
    """(name, distribution as text) of the parameters that trials of the study have, each once."""
    query = f"SELECT DISTINCT param_name, distribution_json FROM {PARAMS} WHERE {_OF_STUDY} ORDER BY 1, 2"
    return [(str(row[0]), str(row[1])) for row in connection.execute(text(query), {"study": study_id})]


def values_stored(connection: Connection, study_id: int, name: str, distribution: str) -> list[float]:
    """The numbers that trials have for one of `parameters_stored`, each once."""
    query = f"SELECT DISTINCT param_value FROM {PARAMS} WHERE {_OF_STUDY} AND {_ONE} AND param_value IS NOT NULL"
    return list(connection.execute(text(query), {"study": study_id, "name": name, "before": distribution}).scalars())


_ONE = "param_name = :name AND distribution_json = :before"


def rewrite_range(
    connection: Connection, study_id: int, name: str, before: str, now: str, low: float, high: float
) -> None:
    """Give a number the distribution `now`, where it lies in it."""
    statement = (
        f"UPDATE {PARAMS} SET distribution_json = :now"
        f" WHERE {_OF_STUDY} AND {_ONE} AND param_value BETWEEN :low AND :high"
    )
    bound = {"study": study_id, "name": name, "before": before, "now": now, "low": low, "high": high}
    connection.execute(text(statement), bound)


def rewrite_choices(
    connection: Connection, study_id: int, name: str, before: str, now: str, places: Mapping[float, int]
) -> None:
    """Give a choice the distribution `now`, and its place among the choices there: old place -> new place."""
    statement = (
        f"UPDATE {PARAMS} SET distribution_json = :now, param_value = m.new"
        " FROM unnest(CAST(:old AS double precision[]), CAST(:new AS double precision[])) AS m(old, new)"
        f" WHERE {_OF_STUDY} AND {_ONE} AND param_value = m.old"
    )
    bound = {"study": study_id, "name": name, "before": before, "now": now}
    connection.execute(text(statement), {**bound, "old": list(places), "new": [float(new) for new in places.values()]})


def add_parameter(connection: Connection, study_id: int, added: Added) -> None:
    """Give it to every trial that has parameters, and for which its row is active. Those it depends on come first."""
    bound: dict[str, Any] = {
        "study": study_id, "name": added.name, "number": float(added.number), "distribution": added.distribution
    }  # fmt: skip
    where = [
        "t.study_id = :study",
        f"EXISTS (SELECT 1 FROM {PARAMS} p WHERE p.trial_id = t.trial_id)",
        f"NOT EXISTS (SELECT 1 FROM {PARAMS} p WHERE p.trial_id = t.trial_id AND p.param_name = :name)",
    ]
    has = (
        f"EXISTS (SELECT 1 FROM {PARAMS} p WHERE p.trial_id = t.trial_id AND p.param_name = :on{{place}} AND {{holds}})"
    )
    for place, (other, numbers) in enumerate(added.conditions):
        where.append(has.format(place=place, holds=f"p.param_value = ANY(CAST(:numbers{place} AS double precision[]))"))
        bound |= {f"on{place}": other, f"numbers{place}": [float(number) for number in numbers]}
    if added.count is not None:
        where.append(has.format(place="count", holds="p.param_value > :place"))
        bound |= {"oncount": added.count[0], "place": float(added.count[1])}
    statement = (
        f"INSERT INTO {PARAMS} (trial_id, param_name, param_value, distribution_json)"
        f" SELECT t.trial_id, :name, :number, :distribution FROM {TRIALS} t WHERE {' AND '.join(where)}"
    )
    connection.execute(text(statement), bound)


def queued_params(connection: Connection, study_id: int) -> dict[int, dict[str, Any]]:
    """What trials were enqueued with, by trial; without what is no table."""
    query = f"SELECT trial_id, value_json FROM {SYSTEM_ATTRS} WHERE key = '{FIXED_PARAMS}' AND {_OF_STUDY}"
    found = {}
    for trial_id, stored in connection.execute(text(query), {"study": study_id}):
        try:
            found[int(trial_id)] = dict(decoded_mapping(stored))
        except Undecodable:
            continue
    return found


def set_queued_params(connection: Connection, params: Mapping[int, Mapping[str, Any]]) -> None:
    """Replace what these trials were enqueued with."""
    if params:
        statement = (
            f"UPDATE {SYSTEM_ATTRS} SET value_json = g.fixed"
            " FROM unnest(CAST(:ids AS int[]), CAST(:fixed AS text[])) AS g(id, fixed)"
            f" WHERE trial_id = g.id AND key = '{FIXED_PARAMS}'"
        )
        bound = {"ids": list(params), "fixed": [json.dumps(dict(each)) for each in params.values()]}
        connection.execute(text(statement), bound)


def note_epochs(connection: Connection, study_id: int, epochs: int) -> None:
    """Record with every finished trial how many epochs it was to train for, unless an earlier change did."""
    statement = (
        f"INSERT INTO {USER_ATTRS} (trial_id, key, value_json)"
        f" SELECT trial_id, 'planned_epochs', :epochs FROM {TRIALS}"
        f" WHERE study_id = :study AND state IN ('{COMPLETE}', '{PRUNED}', '{FAIL}')"
        " ON CONFLICT (trial_id, key) DO NOTHING"
    )
    connection.execute(text(statement), {"study": study_id, "epochs": str(epochs)})


def begin_again(connection: Connection, study_id: int) -> int:
    """Let trials that have begun and wait begin from their first epoch, with their parameters. Returns how many."""
    query = (
        f"SELECT trial_id FROM {TRIALS} t WHERE study_id = :study AND state = '{WAITING}'"
        " AND EXISTS (SELECT 1 FROM hpo_epochs e WHERE e.trial_id = t.trial_id)"
    )
    begun = list(connection.execute(text(query), {"study": study_id}).scalars())
    forget_training(connection, begun)
    return len(begun)


def redeclare(
    connection: Connection,
    study_id: int,
    *,
    fingerprint: str,
    declaration: Mapping[str, str],
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Record the study's new table, and as the attribute `hpo:table_changes`, for dashboards, what changed so far."""
    connection.execute(
        text(
            "UPDATE hpo_studies SET fingerprint = :fingerprint, declaration = :declaration, facts = :facts"
            " WHERE study_id = :study"
        ),
        {
            "study": study_id,
            "fingerprint": fingerprint,
            "declaration": json.dumps(dict(declaration)),
            "facts": json.dumps(dict(facts)),
        },
    )
    connection.execute(
        text(
            f"INSERT INTO {STUDY_USER_ATTRS} (study_id, key, value_json) VALUES (:study, 'hpo:table_changes', :history)"
            " ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json"
        ),
        {"study": study_id, "history": json.dumps(list(history))},
    )
