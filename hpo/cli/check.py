"""`hpo check`: everything that can be known about a study before its first trial."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from hpo.cli.declarations import heading, space_tables
from hpo.cli.options import (
    ChangedCodeOption,
    DeviceOption,
    JsonOption,
    StudyOption,
    SubsetOption,
    TrainersOption,
    timeout_option,
)
from hpo.cli.output import cell, emit_json, emit_rich, progress_console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from hpo.study.discovery import FoundStudy
    from hpo.study.study import Study
    from hpo.trainers.estimate import Inspection, TrialEstimate

__all__ = ["check"]

SHOWN_CLASSES = 6
"""Of a data set: the rarest are what a loss or a metric must take care of."""


def check(
    study: StudyOption,
    timeout: Annotated[
        str | None,
        timeout_option("Estimate how many trials fit into this time, for example 3h."),
    ] = None,
    subset: SubsetOption = None,
    device: DeviceOption = None,
    trainers: TrainersOption = None,
    changed_code: ChangedCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a study before you train it: build every branch, run a few real steps, estimate time and memory.

    Like `hpo run`, it refuses a study that HPO_STORAGE, or .hpo/ in this folder, holds with a different table, or with
    trials of other code or data (--changed-code goes on).
    """
    from hpo.duration import parse_duration
    from hpo.settings import Settings
    from hpo.study.advice import check_search, wasteful
    from hpo.study.discovery import find_study
    from hpo.trainers.devices import find_slots
    from hpo.trainers.estimate import compare_stored, inspect_study

    seconds = parse_duration(timeout) if timeout is not None else None
    found = find_study(study)  # declaring it has checked its table
    check_search(found.study)
    if found.study.define_by_run:
        _check_objective(found, device or "cpu", as_json=as_json)
        return
    if found.study.own is not None:
        _check_training(found, device or "cpu", as_json=as_json)
        return
    if found.study.program is not None:
        from hpo.cli.check_command import check_command

        said = compare_stored(found.study, Settings.read())
        notes = [*wasteful(found.study), *([said] if said else [])]
        check_command(found, device or "cpu", notes, as_json=as_json)
        return
    found = _subset(found, subset)
    said = compare_stored(found.study, Settings.read()) if subset is None else ""
    slots = find_slots(
        device or os.environ.get("HPO_DEVICES"), trainers=trainers, trainers_per_gpu=1, environ=os.environ
    )
    with progress_console().status(f"building every branch of {found.study.name}, then a few steps"):
        inspection = inspect_study(found, slots[0].device)
    facts = _facts(found.study, inspection, seconds, len(slots))
    if subset is None and not said and Settings.read().has_database:
        from hpo.search.code import check_stored_code

        checksum = str(inspection.data.get("checksum", ""))
        said = check_stored_code(found.study, Settings.read(), accepted=changed_code, checksum=checksum)
    facts["notes"] += [said.removeprefix("note: ")] if said else []
    if as_json:
        emit_json(facts)
        return
    command = f"hpo run --study {study} --timeout {timeout or '10m'}"
    _show(found.study, inspection, facts, command)


def _check_objective(found: FoundStudy, device: str, *, as_json: bool) -> None:
    """Import the user's own function in a trainer, as a search would. It is not called."""
    from hpo.study.advice import wasteful
    from hpo.trainers.preflight import rehearse

    ready, _ = rehearse(found, device)
    function = found.study.model_name
    if as_json:
        facts = {"study": found.study.name, "ok": True, "function": function, "notes": wasteful(found.study)}
        emit_json({**facts, "versions": ready.versions})
        return
    emit_rich(
        f"[bold]{function}[/]  can be imported, and takes a trial",
        *_notes(wasteful(found.study)),
        "[dim]kept[/]   exact --trials, one deadline for all hosts, no trial lost, pruning, workers, report",
        "[dim]not[/]    resuming a trial where it was cut short (it starts again), evaluate, reproduce, export",
        f"[green]ok[/]   next: hpo run --study {cell(found.reference)}{_direction(found)} --timeout 10m",
    )


def _check_training(found: FoundStudy, device: str, *, as_json: bool) -> None:
    """Have a trainer call the user's own function with the baseline and both ends of each row, until it reports."""
    from hpo.cli.layout import plain_table
    from hpo.duration import format_short
    from hpo.study.advice import wasteful
    from hpo.trainers.preflight import rehearse
    from hpo.wording import bytes_text, params_text

    study = found.study
    with progress_console().status(f"calling {study.model_name} with both ends of every row, until it reports"):
        ready, inspected = rehearse(found, device)
    tried = inspected.rehearsals
    if as_json:
        facts = {"study": study.name, "ok": True, "fingerprint": study.fingerprint(), "function": study.model_name}
        emit_json({**facts, "rehearsals": tried, "notes": wasteful(study), "versions": ready.versions})
        return
    table = plain_table("to its first report", "memory", "configuration", right=("to its first report", "memory"))
    for one in tried:
        ended = "[yellow]out of memory[/]" if one["out_of_memory"] else format_short(one["seconds"])
        table.add_row(ended, bytes_text(one["peak_memory_bytes"]), cell(params_text(one["config"])))
    final = "" if study.has_final else "; add final= for hpo evaluate"
    emit_rich(
        heading(study),
        "",
        space_tables(study),
        "",
        table,
        "",
        *_notes(wasteful(study)),
        f"[dim]kept[/]   everything that a declared study has, resume where the function calls run.resume(...){final}",
        "[dim]not[/]    export, predict, compress, which need a model that hpo trains",
        f"[green]ok[/]   next: hpo run --study {cell(found.reference)} --timeout 10m",
    )


def _notes(sentences: Sequence[str]) -> list[str]:
    return [f"[dim]note[/]   {cell(sentence)}" for sentence in sentences]


def _direction(found: FoundStudy) -> str:
    """The direction in the objective's own script, as an option for the command; "" where a declaration has it."""
    from hpo.study.script import read_script

    script = read_script(found.source)
    if script is None or found.reference.rpartition(":")[2] not in script.functions:
        return ""
    several = "s" if len(script.directions) > 1 else ""
    return f" --direction{several} {','.join(script.directions) or 'minimize'}"


def _show(study: Study, inspection: Inspection, facts: dict[str, Any], command: str) -> None:
    from hpo.duration import format_short

    by_model, by_recipe = ", ".join(facts["read_by_model"]) or "nothing", ", ".join(facts["read_by_recipe"])
    lines = _notes(facts["notes"])
    if facts["trials_within"] is not None:
        fewest, most = facts["trials_within"]
        lines.append(
            f"[dim]trials in {format_short(facts['timeout_seconds'])}[/]   {fewest} to {most} "
            f"by {facts['slots']} trainer{'s' * (facts['slots'] != 1)} if each trains every epoch; "
            "early stopping and pruning make room for more"
        )
        lines += few_lines(most, inspection.estimates, facts["slots"])
    emit_rich(
        heading(study),
        "",
        space_tables(study),
        "",
        f"[dim]model {study.model_name} reads[/]   {by_model}",
        f"[dim]the recipe reads[/]   {by_recipe}",
        f"[dim]built[/]   {inspection.built} network{'s' if inspection.built > 1 else ''}, both ends of every branch: "
        f"{_span(inspection.parameters)} parameters, {_span(inspection.macs)} multiply-accumulates per sample",
        f"[dim]fingerprint[/]   {facts['fingerprint']}",
        "",
        _estimates(inspection.estimates, inspection),
        "",
        *_sample(inspection.sample),
        *_classes(inspection.data.get("classes", {})),
        *_notes(inspection.data.get("notes", [])),
        *lines,
        f"[green]ok[/]   next: {cell(command)}",
    )


def few_lines(most: int, estimates: Sequence[TrialEstimate], slots: int) -> list[str]:
    """A warning where a search would end before it could learn from its trials; none where enough of them fit."""
    from hpo.duration import format_short
    from hpo.insight.mattered import FEW_TRIALS

    if most >= FEW_TRIALS:
        return []
    seconds = FEW_TRIALS * max(one.trial_seconds for one in estimates) / slots
    fits = (
        f"at most {most} whole trials fit"
        if most > 1
        else "at most 1 whole trial fits"
        if most
        else "no whole trial fits"
    )
    return [
        f"[yellow]few[/]    {fits}: a search learns from about {FEW_TRIALS}, which take up to {format_short(seconds)}. "
        "Give it more time or more devices, fewer epochs, or --subset"
    ]


def _sample(seen: Mapping[str, Any]) -> list[str]:
    """Where the picture of a few samples is, or a few rows."""
    if "png" in seen:
        return [f"[dim]sample[/] {seen['images']} images, before and after augmentation: {cell(seen['png'])}"]
    if "note" in seen:
        return _notes([seen["note"]])
    return [f"[dim]sample[/] {cell(row)}" for row in seen.get("rows", [])[:3]]


def _classes(counts: Mapping[str, Sequence[int]]) -> list[str]:
    """The samples of each class that trials train on and are scored on, the rarest first."""
    rarest = sorted(counts.items(), key=lambda pair: pair[1][0])[:SHOWN_CLASSES]
    shown = [f"{name} {train:,} + {validation:,}" for name, (train, validation) in rarest]
    more = f" and {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    return (
        [f"[dim]classes[/] trained + validated on, the rarest first: {cell(', '.join(shown))}{more}"] if shown else []
    )


def _estimates(estimates: Sequence[TrialEstimate], inspection: Inspection) -> Table:
    from hpo.cli.layout import plain_table
    from hpo.duration import format_short
    from hpo.wording import bytes_text, config_text, count_text

    title = f"real steps on {inspection.device_name}, {inspection.train_images:,} samples per epoch"
    numbers = ("parameters", "step", "epoch", "whole trial", "memory")
    table = plain_table("rehearsed", *numbers, right=numbers)
    table.add_column(title, overflow="fold", style="dim")
    for name, estimate in zip(("smallest", "largest"), estimates, strict=False):
        table.add_row(
            name,
            count_text(estimate.parameters),
            f"{1e3 * estimate.step_seconds:.4g} ms",
            format_short(estimate.epoch_seconds),
            format_short(estimate.trial_seconds),
            bytes_text(estimate.peak_memory_bytes),
            config_text(estimate.config),
        )
    return table


def _facts(study: Study, inspection: Inspection, seconds: float | None, slots: int) -> dict[str, Any]:
    from hpo.study.recipe import RECIPE
    from hpo.trainers.estimate import notes

    reads = study.model_row.reads
    return {
        "study": study.name,
        "ok": True,
        "fingerprint": study.fingerprint(),
        "parameters": list(study.rows.searched),
        "read_by_model": [name for name in study.rows.rows if name in reads],
        "read_by_recipe": [name for name in study.rows.rows if name not in reads and name in RECIPE],
        "slots": slots,
        "timeout_seconds": seconds,
        "trials_within": list(inspection.trials_within(seconds, slots)) if seconds is not None else None,
        "notes": notes(study),
        **asdict(inspection),
    }


def _subset(found: FoundStudy, subset: int | None) -> FoundStudy:
    from dataclasses import replace

    return found if subset is None else replace(found, study=replace(found.study, subset=subset))


def _span(ends: tuple[int, int]) -> str:
    from hpo.wording import count_text

    least, most = map(count_text, ends)
    return least if least == most else f"{least} to {most}"
