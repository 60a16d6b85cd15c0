"""The CSV files. Plain `pandas.read_csv` gives every column the right type; only times need `parse_dates`."""

from __future__ import annotations

import pandas

from hpo.report.data import ReportData

__all__ = ["best_csv", "curves_csv", "importances_csv", "trials_csv"]

IMPORTANCE_COLUMNS = ["objective", "method", "parameter", "kind", "share", "trials", "members", "warning"]


def trials_csv(data: ReportData) -> str:
    """Every trial, by number. Columns: hpo.report.data_frames.trials_frame."""
    return _csv(data.trials)


def best_csv(data: ReportData) -> str:
    """The best trials with their rank, columns as in trials.csv."""
    return _csv(data.best_trials)


def importances_csv(data: ReportData) -> str:
    """A row for each objective, method and parameter or group; spaces separate the `members` of a group."""
    rows = [
        (row.objective, row.method, row.parameter, "group" if row.members else "parameter", row.share, row.trials,
         " ".join(row.members), row.warning)
        for row in data.importances.rows
    ]  # fmt: skip
    return _csv(pandas.DataFrame(rows, columns=IMPORTANCE_COLUMNS))


def curves_csv(data: ReportData) -> str:
    """The history of each trial by epoch, or by step where only Optuna's intermediate values are known."""
    return _csv(data.curves)


def _csv(table: pandas.DataFrame) -> str:
    text: str = table.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ", lineterminator="\n")
    return text
