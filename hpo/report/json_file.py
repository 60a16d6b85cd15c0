"""report.json: the report for programs. docs/report.schema.json is its contract; `schema` counts its versions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from optuna.trial import FrozenTrial

from hpo.json_values import as_json
from hpo.report.data import ReportData
from hpo.report.plot import Plot

__all__ = ["SCHEMA", "report_document", "report_json"]

SCHEMA = 1


def report_json(data: ReportData, plots: Sequence[Plot]) -> str:
    return json.dumps(report_document(data, plots), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def report_document(data: ReportData, plots: Sequence[Plot]) -> dict[str, Any]:
    """The document as plain data; hpo.json_values.as_json converts values that JSON cannot hold."""
    view = data.view
    document = {
        "schema": SCHEMA,
        "study": view.name,
        "made_at": data.made_at.isoformat(),
        "objectives": [
            {"name": name, "direction": direction}
            for name, direction in zip(data.objectives, view.directions, strict=True)
        ],
        "counts": view.counts,
        "budget": {
            "trials_target": view.trials_target,
            "deadline": view.deadline.isoformat() if view.deadline else None,
            "seconds_left": view.seconds_left,
            "trial_seconds": data.train_seconds,
        },
        "declaration": dict(view.declaration) if view.declaration is not None else None,
        "parameters": [asdict(parameter) for parameter in data.parameters],
        "best": [_trial(data, trial) for trial in data.best],
        "baseline": _trial(data, data.baseline) if data.baseline is not None else None,
        "comparison": asdict(data.comparison) if data.comparison is not None else None,
        "insight": data.insight.document(),
        "pruning": asdict(data.saving) if data.saving is not None else None,
        "importances": {
            "rows": [asdict(row) for row in data.importances.rows],
            "warnings": list(data.importances.warnings),
            "missing": list(data.importances.missing),
        },
        "evaluation": data.evaluation,
        "failures": [asdict(failure) for failure in data.failures],
        "plots": [
            {
                "key": plot.key,
                "figures": len(plot.drawing.figures),
                "notes": list(plot.drawing.notes),
                "missing": plot.missing,
            }
            for plot in plots
        ],
    }
    plain: dict[str, Any] = as_json(document)
    return plain


def _trial(data: ReportData, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "values": trial.values,
        "params": dict(data.params(trial)),
        "constraints": dict(trial.constraints),
    }
