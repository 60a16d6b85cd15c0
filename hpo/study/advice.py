"""Samplers and pruners that waste trials together: said by `hpo check` and at the start of a run, never refused."""

from __future__ import annotations

from hpo.study.pruners import Hyperband, NoPruner, Patient, Pruner, SuccessiveHalving, Wilcoxon
from hpo.study.samplers import GP, NSGAII, NSGAIII, CmaEs, Fixed, Sampler
from hpo.study.study import Study

__all__ = ["wasteful"]


def wasteful(study: Study) -> list[str]:
    """A sentence for each combination that costs trials and gains nothing; Optuna itself is silent about them."""
    sampler = study.sampler.sampler if isinstance(study.sampler, Fixed) else study.sampler
    said = [*_unlearned(sampler, study.pruner, len(study.objectives)), *_objectives(sampler, len(study.objectives))]
    if isinstance(study.pruner, Wilcoxon) and study.epochs and not study.folds:
        said.append(
            "Wilcoxon() compares trials step by step, for steps that are equal tasks, and here they are epochs of one "
            "curve: an early lead counts as much as a late one; MedianPruner() is for curves"
        )
    return said


def _unlearned(sampler: Sampler, pruner: Pruner, objectives: int) -> list[str]:
    """What a sampler that reads complete trials alone does not learn from."""
    name, inner = type(sampler).__name__, pruner.pruner if isinstance(pruner, Patient) else pruner
    if inner is None or isinstance(inner, NoPruner) or objectives > 1:
        return []
    if isinstance(sampler, GP | NSGAII | NSGAIII):
        few = "one in " + str(inner.reduction_factor) if isinstance(inner, SuccessiveHalving | Hyperband) else "few"
        return [
            f"{name}() learns from complete trials alone, and {type(inner).__name__}() leaves {few} of them: "
            "it stays blind for long; pruner=NoPruner(), or TPE(), which learns from pruned trials too"
        ]
    if isinstance(sampler, CmaEs):
        return [
            f"CmaEs() counts complete trials alone towards a generation, and {type(inner).__name__}() leaves fewer: "
            "pruner=NoPruner(), or TPE(), which learns from pruned trials too"
        ]
    return []


def _objectives(sampler: Sampler, objectives: int) -> list[str]:
    if isinstance(sampler, NSGAII | NSGAIII) and objectives == 1:
        return [
            f"{type(sampler).__name__}() is for several objectives, and this study has one: TPE() needs fewer trials"
        ]
    return []
