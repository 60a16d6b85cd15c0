"""`hpo reproduce`: does a trial trained again give what the database says?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import JsonOption, NameOption, QuietOption, ReadStorageOption, StoredStudyOption
from hpo.cli.output import emit_json, emit_rich, notice

if TYPE_CHECKING:
    from rich.table import Table

    from hpo.messages import Epoch
    from hpo.reproduction import Reproduction

__all__ = ["reproduce"]

DIFFERS = 1
SHOWN = 12


def reproduce(
    study: StoredStudyOption,
    trial: Annotated[int, typer.Option("--trial", "-t", metavar="N", min=0, help="Number of the trial.")],
    storage: ReadStorageOption = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="cpu or cuda:0. Default: where it ran.", show_default=False),
    ] = None,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train a trial again from what it recorded, and compare every number. Nothing is written.

    On the same hardware and versions the curve is the same bit for bit. Otherwise this says what differs: commit,
    versions, device, data, source files. Exit code 0: the same. 1: not the same.
    """
    from hpo.reproduction import reproduce as train_again
    from hpo.settings import Settings

    def watch(epoch: Epoch, same: bool, epochs: int) -> None:
        if not quiet:
            known = {**epoch.metrics, **epoch.own}
            score = next((known[name] for name in ("val_accuracy", "train_loss", *epoch.own) if name in known), 0.0)
            notice(f"epoch {epoch.epoch}/{epochs}  {score:.5f}  {'same' if same else 'differs'}")

    done = train_again(
        study, trial, name=name, storage=storage, device=device, settings=Settings.read(), on_epoch=watch
    )
    if as_json:
        emit_json(done.as_json())
    else:
        emit_rich(_table(done))
    return 0 if done.same else DIFFERS


def _table(done: Reproduction) -> Table:
    from hpo.cli.layout import labelled_lines
    from hpo.cli.output import cell

    table = labelled_lines()
    table.add_row("trial", f"[bold]{done.trial}[/] of {cell(done.study)}, {done.then_ending}")
    table.add_row("trained", f"{done.compared} of {done.then_epochs} epochs on {cell(done.device)}")
    table.add_row("curve", _verdict(done))
    for one in done.mismatches[:SHOWN]:
        where = f"epoch {one.epoch}" if one.epoch else "at its end"
        table.add_row("", f"{where} {one.metric}  {one.then!r} -> {one.now!r}")
    if len(done.mismatches) > SHOWN:
        table.add_row("", f"[dim]and {len(done.mismatches) - SHOWN} more; --json has all[/]")
    if done.ending not in ("", done.then_ending):
        table.add_row("ending", f"{done.then_ending} -> {done.ending}")
    for index, change in enumerate(done.changes[:SHOWN]):
        label = ("although" if done.same else "changed") if index == 0 else ""
        then, now = change.then or "not recorded", change.now or "not there"
        table.add_row(label, cell(f"{change.what}  {then} -> {now}"))
    if len(done.changes) > SHOWN:
        table.add_row("", f"[dim]and {len(done.changes) - SHOWN} more; --json has all[/]")
    if not done.same and not done.changes:
        table.add_row("changed", "nothing that was recorded")
    for index, note in enumerate(done.notes):
        table.add_row("" if index else "note", cell(note))
    return table


def _verdict(done: Reproduction) -> str:
    if done.same:
        return "[green]the same, bit for bit[/]" if done.compared else "[yellow]no epoch to compare[/]"
    first = min((one.epoch for one in done.mismatches if one.epoch), default=0)
    return f"[red]not the same[/]{f', from epoch {first} on' if first else ''}"
