"""Python files that call hpo.run when they are imported, and a model of another framework: refused before any trial."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import hpo
from hpo.errors import StudyError
from hpo.models import Model

OBJECTIVE = """
import hpo
print("begins", flush=True)
def objective(trial): return 0.5
hpo.run(objective, direction="minimize", trials=1, trainers=1)
"""
MODEL = """
import hpo
from hpo.models import Model
from torch import nn
print("begins", flush=True)
class LightningModule(nn.Module): ...
class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
    def forward(self, images):
        return self.layer(images.flatten(1))
def build(shape, classes):
    return Net()
def study(builder):
    return hpo.Study(name="s", dataset="digits", model=Model(builder), space={"batch_size": 64, "lr": 0.1}, baseline={})
"""


@pytest.fixture
def environ(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (OBJECTIVE, "runs a search of its own when it is imported"),
        (MODEL + 'hpo.run(study("begin:build"), trials=1, trainers=1)\n', "hpo.run was called when a trainer imported"),
    ],
)
def test_a_script_that_calls_hpo_run_unguarded_starts_no_search_in_its_trainers(
    script: str, says: str, environ: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    """It did, each of which started trainers, and so on, until the machine was full."""
    (tmp_path / "begin.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, "begin.py"], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout.count("begins") == 1  # what a trainer prints goes to stderr
    assert ended.stderr.count("begins") <= 1
    assert says in ended.stderr
    assert 'put it under `if __name__ == "__main__":`' in ended.stderr.replace("these lines", "it")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM studies")).scalar() == 0


def test_a_builder_of_lightning_modules_is_told_the_door_that_fits(environ: dict[str, str], tmp_path: Path) -> None:
    """Its training_step would silently not be called."""
    (tmp_path / "my_lightning.py").write_text(MODEL)
    study = hpo.Study(
        name="s", dataset="digits", model=Model("my_lightning:build"), space={"batch_size": 64, "lr": 0.1}, baseline={}
    )
    with pytest.raises(StudyError, match="returned a LightningModule, whose training_step") as caught:
        hpo.run(study, trials=1, trainers=1)
    assert "hpo run --study FILE.py:objective" in caught.value.next
