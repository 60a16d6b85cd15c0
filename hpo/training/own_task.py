"""The functions of the user's own Task: what it says of the targets of a split, and of a network's outputs."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

from hpo.errors import DataError, HpoError
from hpo.messages import Job
from hpo.training.own_parts import OwnPart, task_part
from hpo.user_code import definition_of, line_of, named_error
from hpo.user_function import load_function
from hpo.wording import shortened

__all__ = ["check_predict", "check_targets", "said_of"]


def check_targets(job: Job, split: str, targets: Tensor) -> None:
    """Raise DataError where the Task's `check` finds something wrong with `targets` [N, ...] of a split."""
    check = task_part(job, "check")
    if check is None:
        return
    check.check_takes("targets", "classes")
    where = ""
    try:
        found: Any = check.function(targets, tuple(job.dataset["classes"]), **check.parameters)
    except ValueError as error:
        found, where = str(error) or "ValueError", line_of(error)
    except HpoError:
        raise
    except Exception as error:
        fact = f"does not work: {named_error(error)}"
        raise check.error(fact, line_of(error), next="fix that line, then run `hpo check` again") from error
    problems = [str(one) for one in found] if isinstance(found, list | tuple) else [str(found)] if found else []
    if problems:
        loader = definition_of(load_function(str(job.dataset["loader"])))
        raise DataError(
            f"the targets of the {split} split of {job.dataset['name']}: {shortened(problems[0], 200)}",
            evidence=[*map(shortened, problems[1:5]), where or definition_of(check.function), loader],
            next="mend the loader, or the check of the task",
        )


def check_predict(job: Job, outputs: Tensor) -> None:
    """Raise StudyError, with the line of the user's file, where the Task's `predict` does not work."""
    predict = task_part(job, "predict")
    if predict is not None:
        predict.check_takes("output", "classes")
        said_of(predict, outputs[0], tuple(job.dataset["classes"]))


def said_of(predict: OwnPart, output: Tensor, classes: tuple[str, ...]) -> Any:
    """What the Task says of the outputs for one sample."""
    try:
        said = predict.function(output, classes, **predict.parameters)
        json.dumps(said, allow_nan=True)
    except Exception as error:
        step = "return numbers, text, or lists and dicts of them: `.tolist()` makes them of a tensor"
        raise predict.error(f"does not work: {named_error(error)}", line_of(error), next=step) from error
    return said
