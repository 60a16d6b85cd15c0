"""What tests of training of the user's own work with."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hpo.messages import Job, Protocol
from hpo.own_messages import OwnTraining


@pytest.fixture
def job(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """job(function, ...): as a search sends it, with the function in a module of its own."""
    module = ModuleType("own_train_module")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def made(function: Any, protocol: Protocol | None = None, **fields: Any) -> Job:
        module.train = module.final = function  # type: ignore[attr-defined]
        name = module.__name__
        rules = protocol or Protocol(epochs=6, objectives=("f1",))
        metrics = rules.objectives
        own = OwnTraining(f"{name}:train", "s", ("maximize",), metrics, define_by_run=False, final=f"{name}:final")
        return replace(Job(4, 2, {"lr": 0.1}, rules, {}, {}, 7, str(tmp_path / "study" / "2"), own=own), **fields)

    return made
