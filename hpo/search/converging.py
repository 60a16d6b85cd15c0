"""Whether a study has converged: `stop=Converged()` ends it once what is left to gain is below the noise of seeds."""

from __future__ import annotations

from hpo.insight.outlook import Outlook, outlook_of
from hpo.storage.study_cache import StudyCache
from hpo.study.study import Study

__all__ = ["Converging"]


class Converging:
    """Each host decides for itself, from the trials that all see; what it said once stays."""

    def __init__(self, study: Study, cache: StudyCache) -> None:
        self._study, self._cache = study, cache
        self._heard = 0
        self._reached = self._said = False
        self._note = ""

    def reached(self) -> bool:
        """Whether no new trial should begin. Looks only where a trial has ended since the last time."""
        stop = self._study.stop
        if stop is None or self._reached:
            return self._reached
        changed, self._heard = self._cache.finished_since(self._heard)
        if not changed:
            return False
        trials = self._cache.get_all_trials(self._cache.get_study_id_from_name(self._study.name), deepcopy=False)
        outlook = outlook_of(trials, self._study.directions[0], seeds=self._study.seeds is not None, noise=stop.noise)
        if outlook is not None and outlook.trials >= stop.trials:
            self._judge(outlook)
        return self._reached

    def take_note(self) -> str:
        """What the user should know, once; "" if there is nothing."""
        note, self._note = self._note, ""
        return note

    def _judge(self, outlook: Outlook) -> None:
        if outlook.converged is None and not self._said:
            self._said = True
            self._note = (
                "Converged() cannot tell when to end: no configuration was trained twice to its end, so how far seeds"
                " differ is not known; Converged(noise=...) says it, and --timeout or --trials end the study"
            )
        if outlook.converged:
            self._reached = True
            self._note = (
                f"the search has converged after {outlook.trials} trials; {outlook.text}; without stop= in the study"
                " `hpo run` goes on"
            )
