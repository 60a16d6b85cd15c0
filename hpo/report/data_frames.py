"""Trials as one table with a row for each: trials.csv holds it, and every plot draws it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial

from hpo.results.best import eligible
from hpo.results.reading import StudyView
from hpo.storage.optuna_schema import STATES
from hpo.storage.trial_record import record_of

__all__ = ["curve_column", "curves_frame", "trials_frame", "value_columns"]

_WHOLE = ("best_epoch", "parameters", "macs", "peak_memory_bytes", "attempt", "seed", "val_images")
_NUMBERS = ("setup_seconds", "train_seconds", "eval_seconds")
_WORDS = ("origin", "worker", "host", "device", "device_name", "git_commit")
_OF_EVERY_CURVE = ("trial", "epoch", "step", "seconds", "recorded_at")
_OURS = {*_WHOLE, *_NUMBERS, *_WORDS, "seconds", "epochs", "failure"}


def value_columns(view: StudyView) -> list[str]:
    """`value`, or `values_0`, `values_1` with several objectives, as in Optuna's own data frames."""
    count = len(view.directions)
    return ["value"] if count == 1 else [f"values_{index}" for index in range(count)]


def trials_frame(view: StudyView) -> pandas.DataFrame:
    """One row for each trial, by number. Columns that no trial fills are left out, except those every report has.

    seconds:  the trainer's time for it if recorded, else from its start to its end
    steps:    how many intermediate values it reported (epochs, in a study of hpo)
    eligible: complete, finite, and every constraint held: may be called best
    params_*: one for each parameter, empty where a trial does not have it and "None" where None is its value;
    user_attrs_*: every other attribute that is text, a number or true/false
    """
    may_win = {trial.number for trial in eligible(view.trials)}
    values = value_columns(view)
    table = pandas.DataFrame([_row(trial, values, trial.number in may_win) for trial in view.trials])
    if table.empty:
        empty = ["number", "state", *values, "eligible", "started", "finished", "seconds", "steps"]
        return pandas.DataFrame({name: pandas.Series(dtype="object") for name in empty})
    whole = {
        f"params_{name}"
        for trial in view.trials
        for name, distribution in trial.distributions.items()
        if isinstance(distribution, IntDistribution)
    }
    return _typed(table, values, whole)


def curves_frame(view: StudyView) -> pandas.DataFrame:
    """The history of every trial: rows of hpo_epochs if they have metrics, else what was reported to Optuna.

    A metric of the user's own has a column of its name, `metrics_NAME` where that is a column of every table.
    """
    if any(row[metric] is not None for row in view.epochs for metric in ("train_loss", "val_loss", "val_accuracy")):
        fixed = [name for name in view.epochs[0] if name != "metrics"]
        return _dated([{**{name: row[name] for name in fixed}, **_own_columns(row)} for row in view.epochs])
    if any(row["metrics"] for row in view.epochs):
        return _dated(_own_rows(view))
    rows = [(trial.number, step, value) for trial in view.trials for step, value in trial.intermediate_values.items()]
    return pandas.DataFrame(rows, columns=["trial", "step", "value"])


def _own_rows(view: StudyView) -> list[dict[str, Any]]:
    """A row for each step of each trial of a function of the user's own, which may count anything as a step."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for trial in view.trials:  # first: an earlier hpo wrote these, and no metrics
        for step, value in trial.intermediate_values.items():
            rows[trial.number, step] = {"trial": trial.number, "step": step, curve_column(view.objectives[0]): value}
    for row in view.epochs:
        known = rows.setdefault((row["trial"], row["epoch"]), {"trial": row["trial"], "step": row["epoch"]})
        known |= {"seconds": row["seconds"], "recorded_at": row["recorded_at"], **_own_columns(row)}
    return [rows[key] for key in sorted(rows)]


def curve_column(metric: str) -> str:
    """The column of `curves_frame` that holds a metric."""
    return f"metrics_{metric}" if metric in _OF_EVERY_CURVE else metric


def _own_columns(row: Mapping[str, Any]) -> dict[str, float]:
    return {curve_column(name): value for name, value in row["metrics"].items()}


def _dated(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    table = pandas.DataFrame(rows)
    table["recorded_at"] = pandas.to_datetime(table["recorded_at"], utc=True)
    return table


def _row(trial: FrozenTrial, values: Sequence[str], may_win: bool) -> dict[str, Any]:
    record: Mapping[str, Any] = record_of(trial)
    failure = record.get("failure", {})
    duration = trial.duration.total_seconds() if trial.duration is not None else None
    row: dict[str, Any] = {"number": trial.number, "state": STATES[trial.state]}
    row |= dict(zip(values, trial.values or [None] * len(values), strict=False))
    row |= {f"constraint_{name}": value for name, value in trial.constraints.items()}
    row |= {
        "eligible": may_win,
        "started": _utc(trial.datetime_start),
        "finished": _utc(trial.datetime_complete),
        "seconds": record.get("seconds", duration),
        "steps": len(trial.intermediate_values),
        "failure_kind": failure.get("kind"),
        "failure_reason": failure.get("reason"),
    }
    row |= {name: record.get(name) for name in (*_WORDS, *_WHOLE, *_NUMBERS)}
    row |= {f"params_{name}": "None" if value is None else value for name, value in trial.params.items()}
    others = ((name, value) for name, value in trial.user_attrs.items() if name not in _OURS)
    row |= {f"user_attrs_{name}": value for name, value in others if isinstance(value, (str, int, float, bool))}
    return row


def _typed(table: pandas.DataFrame, values: Sequence[str], whole: Iterable[str]) -> pandas.DataFrame:
    for name in (*values, "seconds", *_NUMBERS):
        table[name] = pandas.to_numeric(table[name], errors="coerce").astype("float64")
    for name in (*_WHOLE, *whole):
        numbers = pandas.to_numeric(table[name], errors="coerce").round()
        table[name] = numbers.where(numbers.abs() < 2**63).astype("Int64")  # larger integers count as missing
    for name in ("started", "finished"):
        table[name] = pandas.to_datetime(table[name], utc=True)
    optional = [name for name in table.columns if name in _OURS or name.startswith("failure_")]
    unused = [name for name in optional if name != "seconds" and table[name].isna().all()]
    ordered = [name for name in table.columns if not name.startswith(("params_", "user_attrs_"))]
    ordered += [name for name in table.columns if name.startswith("params_")]
    ordered += [name for name in table.columns if name.startswith("user_attrs_")]
    return table[ordered].drop(columns=unused)


def _utc(moment: datetime | None) -> datetime | None:
    """Optuna's times are naive and local."""
    return moment.astimezone(UTC) if moment else None
