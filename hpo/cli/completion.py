"""What a shell completes: the names of the studies in studies/."""

from __future__ import annotations

__all__ = ["complete_study"]


def complete_study(incomplete: str) -> list[tuple[str, str]]:
    """The names in studies/ that begin with `incomplete`, each with its first line."""
    from hpo.errors import HpoError
    from hpo.study.discovery import list_studies

    try:
        found = list_studies()
    except HpoError:
        return []  # a broken study file must not break completion in the user's shell
    pairs = [(one.source.stem, one.study.description.strip().split("\n")[0]) for one in found]
    return [pair for pair in pairs if pair[0].startswith(incomplete)]
