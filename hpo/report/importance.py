"""What mattered: PED-ANOVA and fANOVA side by side, each with the number of trials behind it and its weaknesses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial

from hpo.report.in_memory_study import in_memory_study
from hpo.report.words import are
from hpo.results.parameter_ranges import ParameterRange

__all__ = ["FEW_TRIALS", "Importance", "Importances", "find_importances"]

FEW_TRIALS = 20
"""With fewer complete trials than this, in all or with a conditional parameter, a share is a guess, not an estimate."""

FANOVA_TRIALS = 500
"""fANOVA's forests take disproportionately longer with more trials: 6 s on one core for 500, 18 s for 1000."""


@dataclass(frozen=True)
class Importance:
    """The share of one parameter, or of a group: the sum of its `members`. A method's shares add up to 1."""

    objective: str
    method: str
    parameter: str
    share: float
    trials: int
    members: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True)
class Importances:
    """rows: largest first within each objective and method. missing: why there are none, or none by one method."""

    rows: tuple[Importance, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]

    def ranking(self, objective: str, *, groups: bool = False) -> list[str]:
        """Parameters, most important first, by the mean over the methods that have a share; `groups` includes groups.

        Those whose share is a guess (`warning`) come last, whatever the guess is.
        """
        shares: dict[str, list[float]] = {}
        guesses = set()
        for row in self.rows:
            if row.objective == objective and (groups or not row.members):
                shares.setdefault(row.parameter, []).append(row.share)
                guesses |= {row.parameter} if row.warning else set()
        return sorted(shares, key=lambda name: (name in guesses, -fmean(shares[name])))

    def listing(self, objective: str) -> list[str]:
        """For people: groups and single parameters by rank, and right below a group its members, layer by layer."""
        members: dict[str, tuple[str, ...]] = {}
        for row in self.rows:
            if row.objective == objective and len(row.members) > len(members.get(row.parameter, ())):
                members[row.parameter] = row.members
        inside = {name for names in members.values() for name in names}
        tops = [name for name in self.ranking(objective, groups=True) if name not in inside]
        return [name for top in tops for name in (top, *members.get(top, ()))]


def find_importances(
    complete: Sequence[FrozenTrial],
    objectives: Sequence[str],
    directions: Sequence[str],
    parameters: Sequence[ParameterRange],
) -> Importances:
    """Importances from the finished trials `complete` (finite values only)."""
    varying = [parameter for parameter in parameters if parameter.varies]
    if len(complete) < 2 or not varying:
        reason = (
            f"importances need at least two complete trials with finite values; there {are(len(complete))}"
            if len(complete) < 2
            else "no parameter took more than one value"
        )
        return Importances((), (), (reason,))
    rows: list[Importance] = []
    missing: list[str] = []
    for index, objective in enumerate(objectives):
        if len({trial.values[index] for trial in complete}) < 2:
            missing.append(f"{objective}: every complete trial has the same value, so no parameter explains it")
            continue
        for method in ("PED-ANOVA", "fANOVA"):
            try:
                rows += _rows(method, objective, index, complete, directions, varying)
            except _CannotJudge as reason:
                missing.append(f"{method} for {objective}: {reason}")
    return Importances(tuple(rows), tuple(_warnings(complete, varying)), tuple(missing))


class _CannotJudge(Exception):
    pass


def _rows(
    method: str,
    objective: str,
    index: int,
    complete: Sequence[FrozenTrial],
    directions: Sequence[str],
    varying: Sequence[ParameterRange],
) -> list[Importance]:
    trials, names, evaluator = list(complete), [parameter.name for parameter in varying], _evaluator(method)
    if method == "fANOVA":
        trials = _even(trials, FANOVA_TRIALS)
        names = [name for name in names if all(name in trial.params for trial in trials)]
        if not names:
            raise _CannotJudge("it leaves conditional parameters out, and no other one varies")
    study = in_memory_study(trials, [directions[index]], [index])
    shares = _shares(study, evaluator, names)
    counts = {name: sum(name in trial.params for trial in trials) for name in names}
    weak = {
        parameter.name: _weak(parameter, counts[parameter.name]) for parameter in varying if parameter.name in names
    }
    rows = [Importance(objective, method, name, shares[name], counts[name], (), weak[name]) for name in names]
    for group in dict.fromkeys(parameter.group for parameter in varying if parameter.group):
        members = tuple(parameter.name for parameter in varying if parameter.group == group and parameter.name in names)
        if len(members) > 1:
            share, most = sum(shares[name] for name in members), max(counts[name] for name in members)
            guessed = [name for name in members if weak[name]]
            mostly = sum(shares[name] for name in guessed) > share / 2
            warning = f"mostly the guesses of {', '.join(guessed)}" if mostly else ""
            rows.append(Importance(objective, method, group, share, most, members, warning))
    return sorted(rows, key=lambda row: -row.share)


def _shares(study: object, evaluator: BaseImportanceEvaluator, names: list[str]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `_warnings` says this in the report's own words
        try:
            shares = get_param_importances(study, evaluator=evaluator, params=names, normalize=False)  # type: ignore[arg-type]
        except (RuntimeError, ValueError) as error:
            raise _CannotJudge(str(error)) from error
        except (ArithmeticError, AssertionError) as error:  # Optuna's, for values near the largest float
            raise _CannotJudge("the differences between the values are beyond what can be computed") from error
    total = sum(shares.values())
    if not math.isfinite(total):
        raise _CannotJudge("the differences between the values are beyond what can be computed")
    if not total > 0:
        raise _CannotJudge("no parameter explains any of the differences")
    return {name: float(share / total) for name, share in shares.items()}


def _evaluator(method: str) -> BaseImportanceEvaluator:
    # A seed, so that the same study gives the same report.
    return PedAnovaImportanceEvaluator() if method == "PED-ANOVA" else FanovaImportanceEvaluator(seed=0)


def _weak(parameter: ParameterRange, trials: int) -> str:
    if parameter.conditional and trials < FEW_TRIALS:
        return f"only {trials} complete trial{'s' if trials != 1 else ''} had it"
    return ""


def _warnings(complete: Sequence[FrozenTrial], varying: Sequence[ParameterRange]) -> list[str]:
    found = []
    if len(complete) < FEW_TRIALS:
        found.append(
            f"These rest on {len(complete)} complete trials. "
            f"Below {FEW_TRIALS} they are mostly luck: read no order into them."
        )
    counts = {one.name: sum(one.name in trial.params for trial in complete) for one in varying}
    rare = [f"{one.name} ({counts[one.name]})" for one in varying if _weak(one, counts[one.name])]
    if rare:
        found.append(
            f"Faint: a guess. Fewer than {FEW_TRIALS} complete trials had these conditional parameters: "
            f"{', '.join(rare)}."
        )
    return found


def _even(trials: list[FrozenTrial], limit: int) -> list[FrozenTrial]:
    if len(trials) <= limit:
        return trials
    return [trials[index * len(trials) // limit] for index in range(limit)]
