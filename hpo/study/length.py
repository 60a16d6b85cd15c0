"""How long a trial trains where its epochs are a row of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.errors import StudyError
from hpo.study.parameters import Parameter, edge_values
from hpo.study.pruners import NoPruner, PercentilePruner, Pruner
from hpo.study.space import Space

__all__ = ["check_length", "epochs_of", "length_note"]


def epochs_of(study: Any, config: Mapping[str, Any]) -> int:
    """At most so many epochs does a trial of a hpo.study.study.Study train with this resolved configuration."""
    own, most = None if study.brings_training else config.get("epochs"), int(study.epochs)
    return min(own, most) if isinstance(own, int) and own > 0 else most  # a database may have anything in its place


def check_length(study: str, rows: Space, epochs: int, *, freeze_thaw: bool) -> None:
    """Raise StudyError for a row of epochs that goes beyond the study's, or that FreezeThaw() would be asked about."""
    row = rows.rows.get("epochs")
    if row is None:
        return
    longest = max(value for value in edge_values(row) if value is not None)
    if longest > epochs:
        raise StudyError(
            f'study "{study}": the row "epochs" goes up to {longest}, and the study trains {epochs} at most',
            next=f"epochs={longest} in the study, beside its space",
        )
    if freeze_thaw and isinstance(row, Parameter):
        raise StudyError(
            f'study "{study}": FreezeThaw() decides how long each trial trains, and "epochs" is a row as well',
            next="take the row out, or leave out search=",
        )


def length_note(rows: Space, pruner: Pruner) -> list[str]:
    """What a pruner that compares trials at the same epoch does to trials of different lengths."""
    if "epochs" not in rows.searched or isinstance(pruner, NoPruner | PercentilePruner):
        return []
    name = type(pruner).__name__
    return [
        f'"epochs" is searched, and {name}() compares trials at the same epoch: where the learning rate falls over a '
        "trial, short ones are ahead there; MedianPruner() compares each with those at least as long"
    ]
