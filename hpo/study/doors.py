"""Refusals that show the way: of what a Study does not take, and of commands that need a model where there is none.

A network is recognized by the names of its classes, because a declaration imports neither torch nor Lightning.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.errors import StudyError
from hpo.wording import shortened

__all__ = [
    "check_dataset_given",
    "check_model_given",
    "check_objective_given",
    "check_stored_training",
    "has_no_model",
    "stored_training",
]

_LIGHTNING = (
    "keep Lightning's Trainer: write def objective(trial) around Trainer.fit, which returns the metric, and run it with"
    " `hpo run --study FILE.py:objective` (docs/own-training.md)"
)


def stored_training(declaration: Mapping[str, str]) -> str:
    """The objective or the command that a study's stored declaration trains by; "" where hpo trains its rows."""
    if "(command)" in declaration:
        return "this study's command"
    if "(function)" in declaration and "(epochs)" not in declaration:
        return shortened(declaration["(function)"], 200) or "its function"
    return ""


def check_stored_training(command: str, declaration: Mapping[str, str], study: str) -> None:
    """Raise StudyError for a command that needs a model of hpo's: naming the file of such a study is no help."""
    if trains := stored_training(declaration):
        raise has_no_model(command, trains, study)


def has_no_model(command: str, trains: str, study: str, next: str = "") -> StudyError:
    """For `hpo COMMAND`, where something of the user's own `trains` by itself."""
    return StudyError(
        f"hpo {command} needs a model that hpo trains, and {trains} trains by itself",
        next=next or f"`hpo best`, `trials` and `report --study {shortened(study, 200)}` show what it found",
    )


def check_model_given(model: object) -> None:
    """Raise StudyError for a network, its class or its builder where the name of a builder belongs."""
    graphs = getattr(model, "cuda_graphs", False)
    if not isinstance(graphs, bool):
        raise StudyError(f"Model(cuda_graphs={graphs!r}) is neither True nor False")
    model = getattr(model, "builder", model)  # Model(build), too
    if "LightningModule" in _ancestors(model):
        raise StudyError(
            f"model={_name(model)} is a LightningModule, and hpo's own training never calls its training_step",
            next=_LIGHTNING,
        )
    if "Module" in _ancestors(model):
        raise StudyError(
            f"model={_name(model)} is a network, and each trial builds its own",
            next=f"def build(shape, classes, **parameters): return {_name(model)}(...) at the top of a file; then "
            'model=Model("that_file:build"), from hpo.models import Model',
        )
    if callable(model) and not isinstance(model, type):
        raise StudyError(
            f"model={_name(model)} is a function, and a trainer, which is another process, imports it by its name",
            next=f'model=Model("{_place(model)}:{_name(model)}"), from hpo.models import Model',
        )


def check_dataset_given(dataset: object) -> None:
    """Raise StudyError for a function that loads images where its name belongs."""
    loader = getattr(dataset, "loader", dataset)
    if callable(loader) and not isinstance(loader, type):
        raise StudyError(
            f"the data set's loader {_name(loader)} is a function, and a trainer imports it by its name",
            next=f'dataset=Dataset("{_place(loader)}:{_name(loader)}", shape=..., classes=...), '
            "from hpo.data import Dataset",
        )


def check_objective_given(objective: object) -> None:
    """Raise StudyError for a function where a metric, or an Objective, belongs."""
    if callable(objective):
        place = f"{_place(objective)}:{_name(objective)}"
        raise StudyError(
            f"objective={_name(objective)} is a function, and its values need a direction",
            next=f'objective=Objective("{place}", direction="minimize"), or "maximize"; from hpo import Objective',
        )


def _ancestors(given: object) -> set[str]:
    return {kind.__name__ for kind in (given if isinstance(given, type) else type(given)).__mro__}


def _name(given: Any) -> str:
    return str(getattr(given, "__name__", type(given).__name__))


def _place(given: Any) -> str:
    """The module, by the name that a trainer imports it by: a study's own file is imported under another one."""
    module = str(getattr(given, "__module__", "my_file"))
    if module == "__main__":  # a script, which is imported by the name of its file
        module = Path(getattr(sys.modules[module], "__file__", None) or "my_file").stem
    return module.removeprefix("_hpo_study_")
