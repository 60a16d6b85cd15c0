"""One small search and its evaluation, shared by the tests that only look at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import hpo
from hpo.evaluation.evaluate import EvaluateOptions, Evaluation, evaluate
from hpo.settings import Settings
from hpo.storage.embedded.embedded import leave_embedded

QUICK = str(Path(__file__).parent / "quick.py")


@dataclass(frozen=True)
class Evaluated:
    """settings: of the home folder with the database; folder: where evaluation.json and winner/ are."""

    settings: Settings
    evaluation: Evaluation

    @property
    def folder(self) -> Path:
        return self.evaluation.folder


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluated]:
    """A search of six trials, evaluated with the two best and two seeds."""
    place = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_HOME", str(place / "home"))
        settings = Settings.read()
        hpo.run(QUICK, trials=6, trainers=2)
        done = evaluate(QUICK, EvaluateOptions(top=2, seeds=2, known=True, out=place / "out", trainers=2), settings)
    yield Evaluated(settings, done)
    leave_embedded(settings.home)


@pytest.fixture
def home(evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of `evaluated`, in the environment too: trainers read it."""
    monkeypatch.setenv("HPO_HOME", str(evaluated.settings.home))
    return evaluated.settings
