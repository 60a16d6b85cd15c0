"""What users may build on: these names and no others. Whoever adds or drops one changes this list too."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

PUBLIC = {
    "hpo": [
        "GP",
        "NSGAII",
        "NSGAIII",
        "QMC",
        "TPE",
        "AtMost",
        "BruteForce",
        "Categorical",
        "CmaEs",
        "Command",
        "Converged",
        "EarlyStopping",
        "Fixed",
        "Float",
        "FreezeThaw",
        "Grid",
        "HpoError",
        "Hyperband",
        "Int",
        "Loss",
        "MedianPruner",
        "Metric",
        "NoPruner",
        "Objective",
        "Optimizer",
        "Patient",
        "PercentilePruner",
        "Prior",
        "Random",
        "Result",
        "Run",
        "Schedule",
        "StopWhen",
        "Study",
        "SuccessiveHalving",
        "Task",
        "Threshold",
        "Wilcoxon",
        "run",
    ],
    "hpo.models": ["MODELS", "NAMED", "Model", "Reads", "named_model"],
    "hpo.data": [
        "CSV",
        "DATASETS",
        "Dataset",
        "Folders",
        "ImageFolder",
        "RawImages",
        "Samples",
        "Tensor",
        "Torch",
        "cached",
        "checksum",
    ],
    "hpo.testing": ["check_dataset", "check_model"],
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names]
TABLES = {"MODELS", "NAMED", "DATASETS"}
MODULES = {module: importlib.import_module(module) for module in PUBLIC}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these(module: str) -> None:
    assert MODULES[module].__all__ == PUBLIC[module]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_says_what_it_promises(module: str, name: str) -> None:
    """A docstring of its own: not its parent's, nor the signature that Python writes for a dataclass."""
    value: Any = getattr(MODULES[module], name)
    text = value.__doc__ if name not in TABLES else "a table, whose module says how to add to it"
    inherited = {parent.__doc__ for parent in inspect.getmro(value)[1:]} if inspect.isclass(value) else set()
    assert text
    assert text not in inherited
    assert not text.startswith(f"{name}(")


def test_other_names_are_told_apart_from_public_ones() -> None:
    """`hpo` and `hpo.data` load some names when they are asked for, and no others."""
    for module in ("hpo", "hpo.data"):
        with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
            _ = MODULES[module].nothing
