"""`hpo check` for a study whose training is a command: what would be executed, without starting it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hpo.cli.declarations import heading, space_tables
from hpo.cli.output import cell, emit_json, emit_rich

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpo.study.command import Command
    from hpo.study.discovery import FoundStudy
    from hpo.study.study import Study

__all__ = ["check_command"]

SHOWN = 16
"""Lines of a space with many branches, besides the baseline's."""


def check_command(found: FoundStudy, device: str, notes: Sequence[str], *, as_json: bool) -> None:
    """Have a trainer look for the program, and show the command for the baseline and both ends of every row."""
    from hpo.trainers.preflight import rehearse

    study, command = found.study, found.study.program
    assert command is not None
    rehearse(found, device)
    baseline, ends = _lines(study, command)
    if as_json:
        facts = {"study": study.name, "ok": True, "fingerprint": study.fingerprint(), "folder": command.folder}
        emit_json({**facts, "baseline": baseline, "ends": ends, "notes": list(notes)})
        return
    labels = {"in": command.folder, "baseline": baseline, **{f"end {n}": line for n, line in enumerate(ends, 1)}}
    widest = max(map(len, labels))
    emit_rich(
        heading(study),
        "",
        space_tables(study),
        "",
        *(f"[dim]{name:<{widest}}[/]   {cell(line)}" for name, line in labels.items()),
        "",
        *(f"[dim]note[/]   {cell(note)}" for note in notes),
        "[dim]kept[/]   exact --trials, one deadline for all hosts, no trial lost, pruning, workers, report",
        "[dim]not[/]    evaluate, reproduce, export; a trial cut short goes on from what it left in {checkpoint_dir}",
        f"[green]ok[/]   next: hpo run --study {cell(found.reference)} --timeout 10m",
    )


def _lines(study: Study, command: Command) -> tuple[str, list[str]]:
    """What is executed for the baseline, and for the ends of all rows in each branch, once each."""
    from hpo.seeds import trial_seed
    from hpo.study.command import placeholders

    configs = [study.baseline_config, *islice(study.rows.branches(), 10 * SHOWN)]
    seed = trial_seed(study.seed, 0)
    lines = dict.fromkeys(command.line(placeholders(config, 0, seed, "CHECKPOINT_DIR")) for config in configs)
    baseline, *ends = lines
    return baseline, ends[:SHOWN]
