"""The winner's folder of a study that the user's own functions train: what it is, its curves, and the files it left.

config.json   what it is, how it was trained and what it scored
metrics.csv   phase, epoch, seconds, timestamp and every metric reported: phase "search" is the training that the search
              judged, phase "final" the first of the evaluation's runs
files/        what `final(run)` of that run left in run.checkpoint_dir
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpo.atomic_file import write_atomically
from hpo.errors import UsageError
from hpo.evaluation.runs import EvaluationRun, RunResult
from hpo.results.evaluation import ConfigurationRow, search_score_of

__all__ = ["save_own_winner"]


def save_own_winner(
    folder: Path,
    row: ConfigurationRow,
    final: tuple[EvaluationRun, RunResult],
    search: tuple[EvaluationRun, RunResult],
    facts: Mapping[str, Any],
) -> list[Path]:
    """Write the files, and return the paths of the first two. Raises UsageError where the folder cannot be written."""
    described = {
        "name": row["name"],
        "trial": row["trial"],
        "params": row["params"],
        "config": row["config"],
        "epochs": row["epochs"],
        "seed": final[0].job.seed,
        "metrics": row.get("metrics", {}),
        "search_score": search_score_of(row),
        **facts,
        "hpo": version("hpo"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.json", (json.dumps(described, indent=1) + "\n").encode())
        write_atomically(folder / "metrics.csv", _curves({"search": search[1], "final": final[1]}).encode())
        _copy(final[0].folder / "own", folder / "files")
    except OSError as error:
        raise UsageError(
            f"cannot write the winner to {folder}: {error.strerror or error}",
            next="give another --out; finished runs are kept, so it takes seconds",
        ) from error
    return [folder / "config.json", folder / "metrics.csv"]


def _copy(source: Path, to: Path) -> None:
    """The files that the function left, links not followed. Those of an earlier evaluation go."""
    if to.is_dir() and not to.is_symlink():
        shutil.rmtree(to)
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, to, symlinks=True)


def _curves(results: Mapping[str, RunResult]) -> str:
    rows = [row for phase, result in results.items() for row in _rows(phase, result)]
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(phase: str, result: RunResult) -> Iterator[dict[str, Any]]:
    for epoch in result.curve:
        yield {
            "phase": phase,
            "epoch": epoch["epoch"],
            "seconds": epoch.get("seconds", ""),
            "timestamp": datetime.fromtimestamp(epoch["at"], UTC).isoformat(timespec="milliseconds"),
            **epoch.get("own", {}),
        }
