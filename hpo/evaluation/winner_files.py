"""The winner's folder: weights, configuration, training curves, and the checkpoints of the search.

model.safetensors   the model to use: the first of the evaluation's runs, trained on train and validation
config.json         what it is, how it was trained and how it scored: all that is needed to load it
metrics.csv         phase, epoch, train_loss, train_accuracy, val_accuracy, test_accuracy, lr, timestamp: phase "search"
                    is the training that the search scored, phase "final" that of model.safetensors
best.safetensors    phase "search" after its best epoch
last.safetensors    phase "search" after its last epoch
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpo.atomic_file import write_atomically
from hpo.errors import UsageError
from hpo.evaluation.runs import EvaluationRun, RunResult
from hpo.results.evaluation import ConfigurationRow

__all__ = ["FILES", "save_winner"]

FILES = ("model.safetensors", "config.json", "metrics.csv", "best.safetensors", "last.safetensors")
COLUMNS = ("phase", "epoch", "train_loss", "train_accuracy", "val_accuracy", "test_accuracy", "lr", "timestamp")


def save_winner(
    folder: Path,
    row: ConfigurationRow,
    final: tuple[EvaluationRun, RunResult],
    search: tuple[EvaluationRun, RunResult],
    facts: Mapping[str, Any],
) -> list[Path]:
    """Write the five files, each whole or not at all, and return their paths. `row`: from the evaluation's document.

    Raises UsageError where the folder cannot be written.
    """
    (final_run, final_result), (search_run, search_result) = final, search
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "model.safetensors", (final_run.folder / "model.safetensors").read_bytes())
        described = json.loads((final_run.folder / "config.json").read_text())
        described |= _about(row, final_run, facts)
        write_atomically(folder / "config.json", (json.dumps(described, indent=1) + "\n").encode())
        write_atomically(folder / "metrics.csv", _metrics(final_result, search_result).encode())
        for name in ("best.safetensors", "last.safetensors"):
            source = search_run.folder / name
            if source.is_file():
                write_atomically(folder / name, source.read_bytes())
            else:  # it diverged this time: the file there belongs to another evaluation
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write the winner to {folder}: {error.strerror or error}",
            next="give another --out; finished runs are kept, so it takes seconds",
        ) from error
    return [folder / name for name in FILES if (folder / name).is_file()]


def _about(row: ConfigurationRow, run: EvaluationRun, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "trial": row["trial"],
        "params": row["params"],
        "epochs": row["epochs"],
        "epochs_from": row["epochs_from"],
        "test_accuracy": row["test_accuracy"],
        "macro_f1": row["macro_f1"],
        "score": row.get("score"),
        "search_val_accuracy": row["search_val_accuracy"],
        **facts,
        "hpo": version("hpo"),
        "trained_on": "train and validation",
        "input": "float images 0..1, [N, C, H, W]; the network itself takes (image - mean) / std",
        "sys_path": list(run.job.sys_path),
    }


def _metrics(final: RunResult, search: RunResult) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows("search", search))
    rows = list(_rows("final", final))
    rows[-1]["test_accuracy"] = final.finished.metrics.get("test_accuracy", "")  # read once, after the last epoch
    writer.writerows(rows)
    return text.getvalue()


def _rows(phase: str, result: RunResult) -> Iterator[dict[str, Any]]:
    for epoch in result.curve:
        yield {
            "phase": phase,
            "epoch": epoch["epoch"],
            "train_loss": epoch["train_loss"],
            "train_accuracy": epoch.get("train_accuracy", ""),
            "val_accuracy": epoch.get("val_accuracy", ""),
            "test_accuracy": "",
            "lr": epoch["lr"],
            "timestamp": datetime.fromtimestamp(epoch["at"], UTC).isoformat(timespec="milliseconds"),
        }
