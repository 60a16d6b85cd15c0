"""The user's own functions, called when a trial or the run has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from hpo.result import Result
from hpo.results.reading import StudyView
from hpo.search.listening import Listener
from hpo.study.study import Study
from hpo.user_code import line_of

__all__ = ["Callbacks"]


class Callbacks(Listener):
    """on_trial_end(study, trial), on_new_best(study, trial), on_end(result), in one thread and in their order.

    study: the StudyView of `hpo.results.reading`, as this host knows the study; trial: Optuna's FrozenTrial
    """

    name = "a callback"

    def __init__(
        self, study: Study, functions: Mapping[str, Sequence[Callable[..., Any]]], say: Callable[[str], None]
    ) -> None:
        self._study, self._functions, self._say = study, functions, say
        self._broken: set[int] = set()  # by id: a callable object may have no hash

    def trial_ended(self, trial: FrozenTrial, trials: Callable[[], Sequence[FrozenTrial]], *, is_best: bool) -> None:
        study = self._study
        view = StudyView(
            study.name, study.directions, tuple(trials()), declaration=study.declaration(), objectives=study.objectives
        )
        self._call("on_trial_end", view, trial)
        if is_best:
            self._call("on_new_best", view, trial)

    def ended(self, result: Result) -> None:
        self._call("on_end", result)

    def _call(self, name: str, *arguments: Any) -> None:
        for function in self._functions.get(name, ()):
            try:
                function(*arguments)
            except BaseException as error:  # noqa: BLE001 - the user's code, which may even call sys.exit
                if id(function) not in self._broken:
                    self._broken.add(id(function))
                    said = f"{type(error).__name__}: {error}".removesuffix(": ")
                    where = line_of(error)
                    self._say(f"{name} failed: {said}{f' ({where})' if where else ''}; the run goes on")
