"""Whether the trials of a study can wait and go on, which FreezeThaw needs."""

from __future__ import annotations

from hpo.study.study import Study

__all__ = ["can_wait", "search_note"]


def can_wait(study: Study) -> bool:
    """Whether the study declares FreezeThaw and its trials can wait, as far as the declaration tells."""
    return study.search is not None and not _why_not(study)


def search_note(study: Study) -> str:
    """What the user should know of a study whose search cannot be what it declares; "" if it can."""
    if study.search is None or not (why := _why_not(study)):
        return ""
    return (
        f"note: {study.search} cannot pause these trials: {why}. {study.sampler} proposes, and {study.pruner} ends"
        " trials early; a function as train=, which gives what it trains to run.resume(...), can be paused"
    )


def _why_not(study: Study) -> str:
    if study.define_by_run:
        return "an Optuna objective begins anew whenever it is called, and its parameters are known only as it runs"
    if study.program is not None:
        return "hpo does not know how many epochs a command trains"
    return ""
