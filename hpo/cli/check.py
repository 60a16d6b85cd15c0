"""`hpo check`: everything that can be known about a study before its first trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpo.cli.declared import space_tables
from hpo.cli.options import JsonOption, StudyOption, declared_study
from hpo.cli.output import emit_json, emit_rich

if TYPE_CHECKING:
    from hpo.study import Study

__all__ = ["check"]


def check(study: StudyOption, as_json: JsonOption = False) -> None:
    """Check a study without training: its table, who reads each row, and the ends of every branch."""
    found = declared_study(study)  # declaring it has checked it
    facts = _facts(found)
    if as_json:
        emit_json(facts)
        return
    by_model, by_recipe = ", ".join(facts["read_by_model"]) or "nothing", ", ".join(facts["read_by_recipe"])
    emit_rich(
        f"[bold]{found.name}[/]  {found.description.strip()}",
        "",
        space_tables(found),
        "",
        f"[dim]model {found.model_name} reads[/]   {by_model}",
        f"[dim]the recipe reads[/]   {by_recipe}",
        f"[dim]branches[/]   {facts['branches']}, tried at both ends of every row",
        f"[dim]fingerprint[/]   {facts['fingerprint']}",
        "",
        f"[green]ok[/]   next: hpo run --study {study} --timeout 10m",
    )


def _facts(study: Study) -> dict[str, Any]:
    from hpo.recipe import RECIPE

    reads = study.model_row.reads
    return {
        "study": study.name,
        "ok": True,
        "fingerprint": study.fingerprint(),
        "parameters": list(study.rows.searched),
        "read_by_model": [name for name in study.rows.rows if name in reads],
        "read_by_recipe": [name for name in study.rows.rows if name not in reads and name in RECIPE],
        "branches": _branches(study),
    }


def _branches(study: Study) -> int:
    """Different sets of active parameters."""
    shapes = {
        tuple((name, len(value) if isinstance(value, list) else 1) for name, value in config.items())
        for config in study.rows.branches()
    }
    return len(shapes)
