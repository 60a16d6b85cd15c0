"""An evaluation for people: one row per configuration, the verdict, and the winner class by class."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from hpo.cli.layout import labelled_lines, plain_table
from hpo.cli.output import cell
from hpo.cli.summary import program
from hpo.decoding import decoded
from hpo.results.evaluation import score_of, search_score_of
from hpo.study.discovery import names_code
from hpo.wording import bytes_text, params_text
from hpo.wording import score as number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hpo.results.evaluation import ConfigurationRow, EvaluationDocument, MeanRow

__all__ = ["evaluation_parts"]

CLASSES_SHOWN = 20
OTHERS_SHOWN = 4
"""Metrics of the user's own that are shown beside the one that decides."""


def evaluation_parts(document: EvaluationDocument, folder: Path, reference: str) -> list[RenderableType]:
    """Everything that `hpo evaluate` prints, from the evaluation's document.

    reference: how the user named the study; the commands that run its code need it again
    """
    rows = document["configurations"]
    best = next(row for row in rows if row["name"] == document["winner"])
    scores = _own_table(document, rows) if "metric" in document else _scores(rows, document["winner"])
    if _by_own_function(document):
        return [_own_heading(document), "", scores, "", _ending(document, best, folder, reference)]
    parts: list[RenderableType] = [
        _heading(document),
        "",
        scores,
        "",
        _costs(rows, document["winner"]),
        "",
    ]
    if best["confusion"] and len(document["classes"]) <= CLASSES_SHOWN:
        parts += [
            f"[dim]{cell(best['name'])} class by class, {_runs(best)} together: "
            f"a row is what the {'image' if _of_images(document) else 'sample'} is, a column what was predicted[/]",
            _confusion(document, best),
            "",
        ]
    return [*parts, _ending(document, best, folder, reference)]


def _by_own_function(document: EvaluationDocument) -> bool:
    """Whether `final(run)` trained, and there is no model of hpo's."""
    return "metric" in document and document["test_images"] is None


def _of_images(document: EvaluationDocument) -> bool:
    """Whether it is known that the inputs are images."""
    return "mistakes" in document or "picture" in document


def _heading(document: EvaluationDocument) -> str:
    study, count = cell(document["study"]), document["test_images"]
    samples = "images" if _of_images(document) else "samples"
    return (
        f"[bold]{study}[/]  retrained on train and validation with {document['seeds']} fresh seeds each, "
        f"scored once per run on {count:,} test {samples}"
    )


def _own_heading(document: EvaluationDocument) -> str:
    return (
        f"[bold]{cell(document['study'])}[/]  trained for good with {document['seeds']} fresh seeds each, by final(run)"
    )


def _own_table(document: EvaluationDocument, rows: Sequence[ConfigurationRow]) -> Table:
    metric, winner = document["metric"], document["winner"]
    others = [name for name in next((row["metrics"] for row in rows if row.get("metrics")), {}) if name != metric]
    numbers = (metric, "95 % interval", "in the search", "gap", *others[:OTHERS_SHOWN], "epochs", "training", "runs")
    table = plain_table("configuration", *map(cell, numbers), right=tuple(map(cell, numbers)))
    for row in rows:
        score, gap, found, seconds = score_of(row), row["optimism_gap"], search_score_of(row), row["train_seconds"]
        means = [row.get("metrics", {}).get(name) for name in others[:OTHERS_SHOWN]]
        table.add_row(
            _name(row, winner),
            f"[bold]{number(score['mean'])}[/]" if score else "-",
            f"{number(score['low'])} to {number(score['high'])}" if score and score["low"] is not None else "-",
            number(found) if found is not None else "-",
            f"{gap:+.4g}" if gap is not None else "-",
            *(number(mean["mean"]) if mean else "-" for mean in means),
            str(row["epochs"]),
            f"{seconds['mean']:.1f} s" if seconds else "-",
            _runs(row, short=True),
        )
    return table


def _scores(rows: Sequence[ConfigurationRow], winner: str | None) -> Table:
    numbers = ("test accuracy", "95 % interval", "macro F1", "in the search", "gap", "runs")
    table = plain_table("configuration", *numbers, right=numbers)
    for row in rows:
        test, f1, found = row["test_accuracy"], row["macro_f1"], row["search_val_accuracy"]
        gap = row["optimism_gap"]
        table.add_row(
            _name(row, winner),
            f"[bold]{test['mean']:.4f}[/]" if test else "-",
            _interval(test),
            f"{f1['mean']:.4f}" if f1 else "-",
            f"{found:.4f}" if found is not None else "-",
            f"{gap:+.4f}" if gap is not None else "-",
            _runs(row, short=True),
        )
    return table


def _costs(rows: Sequence[ConfigurationRow], winner: str | None) -> Table:
    numbers = ("parameters", "size", "latency p50", "p95", "images/s", "epochs", "training")
    table = plain_table("configuration", *numbers, right=numbers)
    for row in rows:
        seconds = row["train_seconds"]
        if seconds is None:  # no run of it is complete
            continue
        table.add_row(
            _name(row, winner),
            f"{row['parameters']:,}",
            bytes_text(row["model_bytes"] or 0),
            f"{row['latency_p50_ms']:.3f} ms",
            f"{row['latency_p95_ms']:.3f} ms",
            f"{row['images_per_second']:,.0f}",
            str(row["epochs"]),
            f"{seconds['mean']:.1f} s",
        )
    return table


def _confusion(document: EvaluationDocument, best: ConfigurationRow) -> Table:
    """Labels down, predictions across; the diagonal is right. A dot is a zero."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", style="dim", no_wrap=True)
    table.add_column("accuracy", justify="right")
    for name in document["classes"]:
        table.add_column(cell(name), justify="right")
    for index, name in enumerate(document["classes"]):
        cells = [_cell(count, index == place) for place, count in enumerate(best["confusion"][index])]
        table.add_row(cell(name), f"{best['per_class_accuracy'][name]:.4f}", *cells)
    return table


def _ending(document: EvaluationDocument, best: ConfigurationRow, folder: Path, reference: str) -> Table:
    table = labelled_lines()
    verdict = document["verdict"]
    style = {True: "green", False: "yellow", None: "yellow"}[verdict["beats_baseline"]]
    table.add_row("winner", f"[bold green]{cell(best['name'])}[/]  {cell(params_text(best['params']))}")
    table.add_row("verdict", f"[{style}]{cell(verdict['sentence'])}[/]")
    if document["search_rerun"]["same"] is False:
        again = document["search_rerun"].get("score", document["search_rerun"]["val_accuracy"])
        table.add_row("note", f"[yellow]retrained with its own seed it reached {again}: on another device?[/]")
    for row in document["configurations"]:
        for failure in row["failures"]:
            text = f"{row['name']}, seed {failure['seed']}: {failure['outcome']}: {failure['reason']}"
            table.add_row("failed", f"[red]{cell(text)}[/]")
    table.add_row("files", cell(f"{_short(folder)}/evaluation.json, {_short(folder)}/winner/"))
    commands = _next(document["study"], folder, reference, images=_takes_images(folder / "winner"))
    for index, command in enumerate(commands[:1] if _by_own_function(document) else commands):
        table.add_row("" if index else "next", cell(f"{program()} {command}"))
    return table


def _next(study: str, folder: Path, reference: str, *, images: bool) -> list[str]:
    """The next commands. They name a user's own study by its file: hpo runs no code that only a folder names.

    images: whether the winner takes them, which `hpo predict` reads
    """
    code = name = f"--study {shlex.quote(study)}"
    winner = shlex.quote(f"{_short(folder)}/winner")
    if names_code(reference):
        code = f"--study {shlex.quote(reference)} --model {winner}"
    elif folder != Path("reports").absolute() / study:
        code = f"{name} --model {winner}"
    return [f"report {name}", f"export {code} --format onnx", *([f"predict {code} image.png"] if images else [])]


def _takes_images(winner: Path) -> bool:
    try:
        about = decoded((winner / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    shape = about.get("shape") if isinstance(about, dict) else None
    return isinstance(shape, list) and len(shape) == 3


def _short(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def _name(row: ConfigurationRow, winner: str | None) -> str:
    name = cell(str(row["name"]))
    return f"[bold green]{name}[/]" if row["name"] == winner else name


def _interval(test: MeanRow | None) -> str:
    if not test or test["low"] is None:
        return "-"
    return f"{test['low']:.4f} to {test['high']:.4f}"


def _runs(row: ConfigurationRow, *, short: bool = False) -> str:
    done, failed = len(row["runs"]), len(row["failures"])
    if not short:
        return f"{done} run{'s' if done != 1 else ''}"
    return str(done) if not failed else f"{done} of {done + failed}"


def _cell(count: int, right: bool) -> str:
    if not count:
        return "[dim]·[/]"
    return f"[green]{count}[/]" if right else f"[red]{count}[/]"
