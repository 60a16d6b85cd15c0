"""The one truth about "best": the command line, reports, export and evaluation all ask here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.storage.trial_record import record_of

__all__ = ["best_trial", "eligible", "pareto_front", "ranked", "trial_with", "why_no_baseline", "why_no_best"]


def best_trial(trials: Iterable[FrozenTrial], directions: Sequence[Any]) -> FrozenTrial | None:
    """The best eligible trial, the earlier one where values tie; None where no trial is eligible.

    With several objectives the first decides and the others break ties; `pareto_front` gives them all.
    """
    return min(eligible(trials), key=lambda trial: _rank(trial, directions), default=None)


def ranked(trials: Iterable[FrozenTrial], directions: Sequence[Any]) -> list[FrozenTrial]:
    """Every eligible trial, best first."""
    return sorted(eligible(trials), key=lambda trial: _rank(trial, directions))


def pareto_front(trials: Iterable[FrozenTrial], directions: Sequence[Any]) -> list[FrozenTrial]:
    """The eligible trials that no other beats in every objective, best in the first objective first."""
    front: list[tuple[float, ...]] = []
    kept: list[FrozenTrial] = []
    # In lexicographic order nothing later can dominate what is kept, so one pass against the front is enough.
    for trial in ranked(trials, directions):
        losses = _losses(trial, directions)
        if not any(_dominates(other, losses) for other in front):
            front.append(losses)
            kept.append(trial)
    return kept


def eligible(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Complete trials with finite values that hold every constraint (each at most 0)."""
    return [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and trial.values
        and all(math.isfinite(value) for value in trial.values)
        and all(value <= 0.0 for value in trial.constraints.values())
    ]


def why_no_baseline(trials: Iterable[FrozenTrial]) -> str:
    """Why nothing can be compared with the baseline, in the words of its trial; "" where it is complete and finite."""
    found = next((trial for trial in trials if record_of(trial).get("origin") == "baseline"), None)
    if found is None:
        return "no trial is marked as the baseline"
    if found.state == TrialState.COMPLETE:
        finite = bool(found.values) and all(math.isfinite(value) for value in found.values)
        return "" if finite else f"trial {found.number} is complete, but its value is not finite"
    if not found.state.is_finished():
        return f"trial {found.number} has not finished"
    reason = str(record_of(found).get("failure", {}).get("reason", ""))
    ended = "was pruned" if found.state == TrialState.PRUNED else "failed"
    return f"trial {found.number} {ended}{f': {reason}' if reason else ''}"


def why_no_best(trials: Sequence[FrozenTrial]) -> str:
    """Why none of the trials is the best: `none of 3 complete trials counts: 2 not finite, 1 breaks a constraint`."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return "no complete trial yet" if trials else "no trials yet"
    odd = sum(not (trial.values and all(math.isfinite(value) for value in trial.values)) for trial in complete)
    broken = len(complete) - odd - len(eligible(complete))
    parts = [f"{odd} not finite"] if odd else []
    parts += [f"{broken} {'break' if broken > 1 else 'breaks'} a constraint"] if broken else []
    several = (
        f"none of {len(complete)} complete trials counts" if len(complete) > 1 else "the complete trial does not count"
    )
    return f"{several}: {', '.join(parts)}"


def trial_with(trials: Iterable[FrozenTrial], params: Mapping[str, Any]) -> FrozenTrial | None:
    """The first complete trial with exactly these flat parameters: how the baseline's trial is found again."""
    wanted = dict(params)
    return next((trial for trial in trials if trial.state == TrialState.COMPLETE and trial.params == wanted), None)


def _losses(trial: FrozenTrial, directions: Sequence[Any]) -> tuple[float, ...]:
    pairs = zip(trial.values, directions, strict=True)
    return tuple(value if _minimizes(direction) else -value for value, direction in pairs)


def _minimizes(direction: Any) -> bool:
    """Optuna's StudyDirection and its name in either case mean the same here."""
    name = str(getattr(direction, "name", direction)).lower()
    if name not in ("minimize", "maximize"):
        raise ValueError(f"{direction!r} is not a direction")
    return name == "minimize"


def _rank(trial: FrozenTrial, directions: Sequence[Any]) -> tuple[tuple[float, ...], int]:
    return _losses(trial, directions), trial.number


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
