"""`hpo compress`: the winner with fewer channels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.options import DeviceOption, JsonOption, StudyOption
from hpo.cli.saved_model import ModelOption, TrustOption, saved_model, winner_folder

if TYPE_CHECKING:
    from rich.table import Table

    from hpo.inference.compressing import Compressed

__all__ = ["compress"]


def compress(
    study: StudyOption,
    ratio: Annotated[
        float,
        typer.Option("--ratio", metavar="SHARE", help="Share of each layer's channels to remove: above 0, below 1."),
    ] = 0.3,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=0, help="Epochs of training after pruning.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Output folder. Default: reports/NAME/compressed.", show_default=False
        ),
    ] = None,
    model: ModelOption = None,
    trust: TrustOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove channels from the winner that `hpo evaluate` saved, fine-tune it, and compare both on the test split.

    It removes the channels with the smallest norm, and fine-tunes on the winner's own training images at a tenth of its
    learning rate. It writes compressed.json and the model as a torch.export file, with normalisation included.
    """
    from hpo.cli.output import emit_json, emit_rich, notice

    folder, name = winner_folder(study, model, "compress")
    saved = saved_model(folder, study, trust=trust)

    def said(epoch: int, loss: float, accuracy: float) -> None:
        notice(f"epoch {epoch} of {epochs}: train loss {loss:.4f}, accuracy {accuracy:.4f}")

    done = _compress(study, saved, ratio, epochs, device, said)
    target = out or folder.parent / "compressed"
    files = _write(done, name, ratio, target)
    if as_json:
        emit_json(_facts(done, name, ratio) | {"files": [str(path) for path in files]})
        return
    emit_rich(_table(done), "", *(f"[dim]wrote[/]   {path}" for path in files))


def _compress(study: str, saved: Any, ratio: float, epochs: int, device: str | None, said: Any) -> Compressed:
    from dataclasses import replace

    from hpo.inference.compressing import compress as compress_model
    from hpo.settings import Settings
    from hpo.study.discovery import find_study
    from hpo.trainers.jobs import study_job

    found = find_study(study)
    found.study.check_trained_here("compress")
    job = study_job(found, saved.about.get("config", {}))
    # More images than the winner had would hide what pruning costs.
    job = replace(
        job, phase="final", protocol=replace(job.protocol, subset=saved.about.get("subset", found.study.subset))
    )
    return compress_model(saved, job, ratio, epochs, device or "cpu", Settings.read(), said)


def _write(done: Compressed, name: str, ratio: float, folder: Path) -> list[Path]:
    import json

    from hpo.atomic_file import write_atomically
    from hpo.inference.exporting import export_model

    model = folder / f"{name}.pt2"
    export_model(done.model, "torch-export", model)
    facts = folder / "compressed.json"
    write_atomically(facts, json.dumps(_facts(done, name, ratio), indent=1) + "\n")
    return [facts, model]


def _facts(done: Compressed, name: str, ratio: float) -> dict[str, Any]:
    return {
        "study": name,
        "ratio": ratio,
        "epochs": done.epochs,
        "before": asdict(done.before),
        "pruned_accuracy": done.pruned_accuracy,
        "after": asdict(done.after),
    }


def _table(done: Compressed) -> Table:
    from hpo.cli.layout import plain_table

    table = plain_table("", "before", "after", "change", right=("before", "after", "change"))
    before, after = done.before, done.after
    change = 100 * (after.test_accuracy - before.test_accuracy)
    table.add_row(
        "test accuracy", f"{before.test_accuracy:.4f}", f"[bold]{after.test_accuracy:.4f}[/]", f"{change:+.2f} points"
    )
    table.add_row("  pruned, untrained", "", f"{done.pruned_accuracy:.4f}", "", style="dim")
    rows = [
        ("parameters", before.parameters, after.parameters, "{:,.0f}"),
        ("multiply-accumulates", before.macs, after.macs, "{:,.0f}"),
        ("bytes", before.size_bytes, after.size_bytes, "{:,.0f}"),
        ("latency of one image, ms", before.latency_ms, after.latency_ms, "{:.3g}"),
    ]
    for name, old, new, form in rows:
        table.add_row(name, form.format(old), form.format(new), f"{100 * (new / old - 1):+.0f} %")
    return table
