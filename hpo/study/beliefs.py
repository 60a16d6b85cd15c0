"""What the user believes of a row before the first trial: where its best value lies, and how likely that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.errors import StudyError
from hpo.study.declared import DeclaredOption, is_number

__all__ = ["Prior", "check_prior", "prior_of"]

CONFIDENCE = 0.5


@dataclass(frozen=True)
class Prior(DeclaredOption):
    """A belief about one row: Float(1e-5, 1e-1, log=True, prior=Prior(1e-3, confidence=0.8)); `prior=1e-3` is short for
    a confidence of 0.5.

    value:      where the best lies; for a Categorical also weights of its choices: {"adam": 3, "sgd": 1}
    confidence: the chance that it lies there, above 0 and below 1. Of a range, "there" is about a tenth of it to both
                sides, by the logarithm where the row says log=True; otherwise it may be anywhere in the row
    """

    value: Any
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not (is_number(self.confidence) and 0.0 < self.confidence < 1.0):
            raise StudyError(
                f"Prior({self.value!r}, confidence={self.confidence!r}) must have a confidence above 0 and below 1",
                next="leave the prior out for 0; what is certain is a fixed row, or a narrower one",
            )

    def weights(self, choices: Sequence[Any]) -> list[float]:
        """How much of the belief each choice of a Categorical has, 1 in all."""
        given = self.value.items() if isinstance(self.value, Mapping) else [(self.value, 1.0)]
        found = [math.fsum(weight for named, weight in given if _same(named, choice)) for choice in choices]
        return [weight / math.fsum(found) for weight in found]


def prior_of(given: Any) -> Prior:
    """A belief as a row keeps it."""
    return given if isinstance(given, Prior) else Prior(given)


def check_prior(row: Any, prior: Prior) -> None:
    """Raise StudyError for a belief that a hpo.study.parameters.Parameter cannot have."""
    if len(set(map(repr, row.ends()))) < 2:
        raise StudyError(f"a row of one value needs no prior: {row}", next="leave prior= out")
    if isinstance(prior.value, Mapping):
        _check_weights(row, prior.value)
    elif not row.contains(prior.value):
        raise StudyError(
            f"prior={prior.value!r} is outside its row: {row}", next="name a value of the row, or widen the row"
        )


def _check_weights(row: Any, weights: Mapping[Any, Any]) -> None:
    if not hasattr(row, "choices"):
        raise StudyError(
            f"prior={dict(weights)!r} has weights, and the row is a range: {row}",
            next="prior=VALUE, where its best lies",
        )
    for choice, weight in weights.items():
        if not row.contains(choice):
            raise StudyError(f"prior={dict(weights)!r} names {choice!r}, which is no choice: {row}")
        if not (is_number(weight) and weight >= 0.0):
            raise StudyError(f"prior={dict(weights)!r} must give {choice!r} a weight of at least 0")
    if not 0.0 < sum(weights.values()) < math.inf:
        raise StudyError(
            f"prior={dict(weights)!r} has no weights that can be compared", next="leave it out, or prefer a choice"
        )


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
