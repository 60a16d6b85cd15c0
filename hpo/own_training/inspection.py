"""Can the user's function be had, and called with a trial? Asked of a trainer before the first trial."""

from __future__ import annotations

import inspect

from hpo.errors import HpoError, StudyError
from hpo.messages import Inspected
from hpo.own_messages import OwnTraining
from hpo.own_training.load import load_function
from hpo.user_code import definition_of

__all__ = ["inspect_function"]


def inspect_function(own: OwnTraining) -> Inspected:
    """Import the function and hold it against its one argument. It is not called."""
    try:
        function = load_function(own.function)
        try:
            inspect.signature(function).bind(None)
        except TypeError as error:
            name = own.function.rpartition(":")[2]
            raise StudyError(
                f"{name} cannot be called with a trial: {error}",
                evidence=[definition_of(function)],
                next=f"let {name} take one argument, the trial; fix others by functools.partial",
            ) from error
    except HpoError as error:
        problem = {"kind": type(error).__name__, "fact": error.fact, "evidence": list(error.evidence)}
        return Inspected(problem={**problem, "next": error.next})
    return Inspected()
