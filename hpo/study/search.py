"""How a study's trials are searched, where it is neither by a sampler nor by a pruner."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.study.declared import DeclaredOption

__all__ = ["FreezeThaw"]


@dataclass(frozen=True)
class FreezeThaw(DeclaredOption):
    """Trials begin with a few epochs, wait, and go on where it pays: learned from all curves of the study.

    It proposes and it pauses, so the study's sampler and pruner are not asked; docs/search.md says when it pays. Where
    trials cannot wait, because the training cannot go on from a checkpoint, the sampler and the pruner do its work.
    """
