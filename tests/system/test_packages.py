"""hpo's own packages have common names: what a user's folder calls `models` or `data` is told apart, or told of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.errors import StudyError
from hpo.study.discovery import find_study

ROOT = Path(__file__).parents[2]
STUDY = """
import hpo
from hpo.models import {name}
space = {{"batch_size": 64, "lr": hpo.Float(0.1, 1.0)}}
study = hpo.Study(name="mine", dataset="digits", model="perceptron", space=space, baseline={{"lr": 0.1}}, epochs=1)
"""


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": "", "HPO_HOME": str(folder / "home")}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True)


@pytest.mark.parametrize("taken", ["data/__init__.py", "models.py"])
def test_a_package_that_hides_ours_is_named(taken: str, tmp_path: Path) -> None:
    """`import hpo` beside one says which file is in the way and what to do, and is no riddle about a missing name."""
    path = tmp_path / taken
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = python(tmp_path, "-c", f"import sys; sys.path[1:1] = [{str(ROOT)!r}]; import hpo")
    assert done.returncode == 1
    assert f"{path}\nnext: rename it" in done.stderr


def test_a_folder_of_data_hides_nothing(tmp_path: Path) -> None:
    """Files under `data/` are what most projects have."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").touch()
    done = python(tmp_path, "-c", f"import sys; sys.path[1:1] = [{str(ROOT)!r}]; import hpo.study.study")
    assert done.returncode == 0, done.stderr


def test_trainers_take_nothing_of_ours_from_the_current_folder(tmp_path: Path, database_url: str) -> None:
    """A models.py beside the study harms nobody who does not import it."""
    (tmp_path / "models.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "mine.py").write_text(STUDY.format(name="MODELS"))
    hpo = f"import sys; sys.path[:1] = [{str(ROOT)!r}]; from hpo.cli.main import main; main()"
    done = python(
        tmp_path, "-c", hpo, "run", "--study", "mine.py", "--trials", "1", "--workers", "1", "--storage", database_url
    )
    assert done.returncode == 0, done.stderr


def test_a_study_that_wants_its_own_models_is_told_whose_name_that_is(tmp_path: Path) -> None:
    """The error names the file that is not found, and why."""
    (tmp_path / "models.py").write_text("mine = 1")
    (tmp_path / "mine.py").write_text(STUDY.format(name="mine"))
    with pytest.raises(StudyError, match="does not import") as caught:
        find_study(str(tmp_path / "mine.py"))
    assert f"{tmp_path / 'models.py'} is not found" in str(caught.value)
