"""How a study's trials are searched, where it is neither by a sampler nor by a pruner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.errors import StudyError
from hpo.study.declared import DeclaredOption
from hpo.study.samplers import Grid

__all__ = ["FreezeThaw", "check_freeze_thaw"]


@dataclass(frozen=True)
class FreezeThaw(DeclaredOption):
    """Trials begin with a few epochs, wait, and go on where it pays: learned from all curves of the study.

    It proposes and it pauses, so the study's sampler and pruner are not asked; docs/search.md says when it pays. Where
    trials cannot wait, because the training cannot go on from a checkpoint, the sampler and the pruner do its work.
    """


def check_freeze_thaw(values: Mapping[str, Any]) -> None:
    """Raise StudyError for a study that FreezeThaw cannot search: it goes by one objective, after each epoch."""
    if isinstance(values["sampler"], Grid):
        raise StudyError(
            "FreezeThaw() proposes by itself, and Grid() has every combination in turn", next="leave out one"
        )
    if isinstance(values["objective"], tuple | list) and len(values["objective"]) > 1:
        raise StudyError(
            f"FreezeThaw() goes by one objective, and this study has {len(values['objective'])}",
            next="name one objective, or leave out search=",
        )
    if values["folds"] is not None:
        raise StudyError(
            "FreezeThaw() goes by what each epoch reports, and with folds= a trial reports only when a fold has ended",
            next="leave out folds= or search=",
        )
