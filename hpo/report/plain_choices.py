"""Choices of any kind as values that can be counted, sorted and written on an axis."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from hpo.json_values import as_choice, key_of

__all__ = ["with_plain_choices"]


def with_plain_choices(trials: Sequence[FrozenTrial]) -> tuple[FrozenTrial, ...]:
    """The trials with each list or mapping among their choices as its JSON: all are hashable, and no two are equal.

    Plain Optuna takes any value as a choice. Choices that are equal in Python, such as 1 and True, become text as well.
    A trial without such choices is returned unchanged.
    """
    return tuple(_plain(trial) for trial in trials)


def _plain(trial: FrozenTrial) -> FrozenTrial:
    odd = {
        name: shown
        for name, distribution in trial.distributions.items()
        if isinstance(distribution, CategoricalDistribution) and (shown := _shown(distribution.choices)) is not None
    }
    if not odd:
        return trial
    plain = copy.copy(trial)
    plain.distributions = {
        **trial.distributions,
        **{name: CategoricalDistribution(list(shown.values())) for name, shown in odd.items()},
    }
    plain.params = {
        **trial.params,
        **{name: shown.get(key_of(trial.params[name]), as_choice(trial.params[name])) for name, shown in odd.items()},
    }
    return plain


def _shown(choices: Sequence[Any]) -> Mapping[str, Any] | None:
    """What each choice becomes, by key; None if all may stay as they are."""
    plain = [as_choice(choice) for choice in choices]
    if len(set(plain)) == len(choices) and all(one is other for one, other in zip(plain, choices, strict=True)):
        return None
    keys = [key_of(choice) for choice in choices]
    if len(set(plain)) < len(set(keys)):
        texts = [str(choice) for choice in plain]
        plain = texts if len(set(texts)) == len(set(keys)) else keys
    return dict(zip(keys, plain, strict=True))
