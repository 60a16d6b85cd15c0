"""The one truth about "best": the command line, reports, export and evaluation all ask here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.storage.trial_record import record_of

__all__ = [
    "best_trial",
    "eligible",
    "outside_text",
    "pareto_front",
    "ranked",
    "told_outside",
    "trial_with",
    "why_no_baseline",
    "why_no_best",
]


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
    """Complete trials with finite values that hold every constraint (each at most 0).

    Where hpo trained one of them, those that it did not train are none: what somebody told is no measurement of ours.
    """
    found = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and trial.values
        and all(math.isfinite(value) for value in trial.values)
        and all(value <= 0.0 for value in trial.constraints.values())
    ]
    return [trial for trial in found if _is_trained(trial)] or found


def told_outside(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Complete trials whose values somebody told by Optuna's API, in a study in which hpo trained others."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    outside = [trial for trial in complete if not _is_trained(trial)]
    return outside if len(outside) < len(complete) else []


def outside_text(trials: Iterable[FrozenTrial]) -> str:
    """`trial 7 was told from outside, not trained by hpo, and is never the best`; "" where there is none."""
    numbers = [str(trial.number) for trial in told_outside(trials)]
    if not numbers:
        return ""
    if len(numbers) == 1:
        return f"trial {numbers[0]} was told from outside, not trained by hpo, and is never the best"
    named = ", ".join(numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    return f"trials {named} were told from outside, not trained by hpo, and are never the best"


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


def _is_trained(trial: FrozenTrial) -> bool:
    """Whether hpo trained it: a trial that ended says by whom, and with which seed."""
    record = trial.user_attrs
    return "seed" in record or "worker" in record


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
