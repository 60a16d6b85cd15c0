"""Whether an objective asks for the same parameters in every trial, as far as its last trials tell."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import TrialState

from hpo.storage.study_cache import StudyCache

__all__ = ["STATIC_TRIALS", "StaticSpace"]

STATIC_TRIALS = 10
"""After so many trials in a row that asked for the same, in the same order, the next one is expected to do so too."""


class StaticSpace:
    """Learns from trials as they finish, COMPLETE or PRUNED. For one thread."""

    def __init__(self, cache: StudyCache) -> None:
        self._cache = cache
        self._heard = 0
        self._space: Mapping[str, BaseDistribution] = {}
        self._alike = 0
        self._words: dict[str, tuple[BaseDistribution, str]] = {}  # by name, as a trainer wrote it last

    def refresh(self) -> Mapping[str, BaseDistribution]:
        """Distributions by name, in the order in which they are asked for; {} while trials differ, or are too few."""
        finished, self._heard = self._cache.finished_since(self._heard)
        ended = [one for one in finished if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        for trial in ended[-STATIC_TRIALS:]:
            space = trial.distributions
            same = list(space.items()) == list(self._space.items())  # in the same order, too: values depend on it
            self._alike = self._alike + 1 if same else 1
            self._space = space
        return self._space if self._alike >= STATIC_TRIALS else {}

    def changed(self) -> None:
        """A trial asked for something else: learn anew from trials that finish from now on."""
        _, self._heard = self._cache.finished_since(self._heard)
        self._alike = 0

    def asked(self, name: str, distribution: BaseDistribution, words: str) -> None:
        """Remember how a trainer writes `distribution`: as the user gave it, which Optuna may write otherwise."""
        self._words[name] = distribution, words

    def words(self, name: str, distribution: BaseDistribution) -> str:
        """The text that a trainer is likely to write for it."""
        known, words = self._words.get(name, (None, ""))
        return words if known == distribution else distribution_to_json(distribution)
