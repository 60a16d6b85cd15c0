"""`hpo doctor`: check everything a search needs, and say what to do where something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import DeviceOption, JsonOption, StorageOption
from hpo.cli.output import emit_json, emit_rich

if TYPE_CHECKING:
    from hpo.doctor import Finding

__all__ = ["doctor"]

BROKEN = 1
MARKS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[bold red]fail[/]"}


def doctor(
    storage: StorageOption = None,
    device: DeviceOption = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Requeue stale trials, free left-over leases, set aside journals of studies that are gone.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Check database, trials, disk, devices, data and versions. Exit code 1 when something is broken.

    Warnings do not change the exit code. It works without the database too, and says so.
    """
    from hpo.doctor import checkup
    from hpo.settings import Settings

    findings = []
    for finding in checkup(Settings.read(), storage=storage, devices=device, fix=fix):
        findings.append(finding)
        if not as_json:
            _show(finding)
    broken = sum(finding.level == "fail" for finding in findings)
    warnings = sum(finding.level == "warn" for finding in findings)
    if as_json:
        emit_json({"ok": not broken, "findings": [finding.as_json() for finding in findings]})
    else:
        emit_rich("", _verdict(broken, warnings))
    return BROKEN if broken else 0


def _show(finding: Finding) -> None:
    """Print a finding at once, without waiting for slow checks after it; details only where something is wrong."""
    from rich.table import Table

    from hpo.cli.output import cell

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True, min_width=11)
    table.add_column(overflow="fold")
    table.add_row(MARKS[finding.level], finding.check, cell(finding.fact))
    if finding.level != "ok" or finding.check in ("database", "trials", "kernels"):
        for line in finding.details:
            table.add_row("", "", f"[dim]{cell(line)}[/]")
    if finding.next:
        table.add_row("", "", f"next: {cell(finding.next)}")
    emit_rich(table)


def _verdict(broken: int, warnings: int) -> str:
    if broken:
        return f"[bold red]{broken} broken[/]{f', {warnings} to look at' if warnings else ''}"
    return f"[green]all in order[/]{f', {warnings} to look at' if warnings else ''}"
