"""Samplers and pruners that cannot be made, which is refused before a run, and those that waste trials together, which
`hpo check` and the first lines of a run say."""

from __future__ import annotations

from hpo.errors import StudyError
from hpo.study.length import length_note
from hpo.study.own_search import OwnPruner, OwnSampler
from hpo.study.pruners import Hyperband, NoPruner, Patient, Pruner, SuccessiveHalving, Wilcoxon
from hpo.study.samplers import GP, NSGAII, NSGAIII, CmaEs, Fixed, Sampler
from hpo.study.study import Study

__all__ = ["check_may_share", "check_search", "wasteful"]


def check_search(study: Study) -> None:
    """Raise StudyError for a sampler or a pruner that cannot be made or used: an argument that it does not take, an
    error in a file of the user's own, CmaEs with several objectives. Loads Optuna only where there is one to ask."""
    sampler = study.sampler.sampler if isinstance(study.sampler, Fixed) else study.sampler
    if isinstance(sampler, CmaEs) and len(study.directions) > 1:
        raise StudyError(
            f"CmaEs() goes by one objective, and this study has {len(study.directions)}",
            next="sampler=NSGAII(), which is for several, or TPE()",
        )
    if sampler.arguments or study.sampler.arguments or isinstance(sampler, OwnSampler):
        study.sampler.build(study.rows, 0)
    pruner = study.pruner.pruner if isinstance(study.pruner, Patient) else study.pruner
    if isinstance(pruner, Hyperband | Wilcoxon) and len(study.directions) > 1:
        raise StudyError(
            f"{type(pruner).__name__}() goes by one objective, and this study has {len(study.directions)}",
            next="pruner=MedianPruner(), which goes by the first, or NoPruner()",
        )
    if isinstance(pruner, OwnPruner) or (pruner is not None and pruner.arguments) or study.pruner.arguments:
        study.pruner.build(study.epochs, 1)


def wasteful(study: Study) -> list[str]:
    """A sentence for each combination that costs trials and gains nothing; Optuna itself is silent about them."""
    if study.search is not None:  # which asks neither
        return []
    sampler = study.sampler.sampler if isinstance(study.sampler, Fixed) else study.sampler
    said = [*_unlearned(sampler, study.pruner, len(study.objectives)), *_objectives(sampler, len(study.objectives))]
    said += length_note(study.rows, study.pruner) if not study.brings_training else []
    if isinstance(study.pruner, Wilcoxon) and study.epochs and not (study.folds or study.seeds):
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


def check_may_share(study: Study, devices: int) -> None:
    """Raise StudyError where an Optuna objective is to train on several devices: each would ask for parameters."""
    if study.define_by_run:
        raise StudyError(
            f"an objective suggests as it goes, on one device, and devices_per_trial is {devices}",
            next="give the study train=, a function of a run, and declared rows (docs/own-training.md)",
        )
