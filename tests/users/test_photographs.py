"""A user with a folder of photographs, most of one class, who wants the rare ones found: macro F1, classes weighted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import hpo
from hpo.cli.main import run_command
from hpo.data.folder_images import _by_processes, _shared
from hpo.data.pixels import decode_share
from hpo.errors import CodeMismatch, DataError
from hpo.evaluation.evaluate import EvaluateOptions, evaluate
from hpo.inference.model import load_model
from hpo.inference.predicting import predict
from hpo.reproduction import reproduce
from hpo.search.code import check_stored_code
from hpo.settings import Settings
from hpo.storage.embedded.embedded import leave_embedded
from hpo.study.discovery import find_study
from hpo.trainers.estimate import inspect_study

ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "photographs" / "study.py"


def write_digits(root: Path, count: int) -> None:
    """`count` digits of scikit-learn as photographs of 40 x 32 pixels, in folders with spaces in the name."""
    bundle = load_digits()
    for number, (image, label) in enumerate(zip(bundle.images[:count], bundle.target[:count], strict=True)):
        folder = root / f"the digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray((image * 15).astype(np.uint8)).resize((40, 32))
        pixels.convert("RGB").save(folder / f"scan {number}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example, its photographs, and a home."""
    place = tmp_path_factory.mktemp("folder")
    shutil.copy(EXAMPLE, place / "study.py")
    write_digits(place / "photos", 700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_HOME", str(place / "home"))
        yield place
    leave_embedded(place / "home")


@pytest.fixture(autouse=True)
def home(place: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `cd place`."""
    monkeypatch.setenv("HPO_HOME", str(place / "home"))
    monkeypatch.chdir(place)


@pytest.fixture(scope="module")
def searched(place: Path) -> Any:
    return hpo.run(str(place / "study.py"), trials=2, trainers=1)


def test_a_folder_is_searched_evaluated_reproduced_and_predicted(place: Path, searched: Any) -> None:
    study, settings = str(place / "study.py"), Settings.read()
    assert searched.counts["complete"] == 2
    again = reproduce(study, 0, storage=None, device=None, settings=settings)
    assert again.same, again
    options = EvaluateOptions(top=1, seeds=1, out=place / "out", trainers=1)
    done = evaluate(study, options, settings).document
    assert done["classes"] == [f"the digit {label}" for label in range(10)]
    assert done["dataset"] == "ImageFolder(photos, size=32, test=0.2)"
    assert done["test_images"] == 140
    assert done["metric"] == "test_macro_f1"
    row = done["configurations"][0]
    assert row["score"]["mean"] == pytest.approx(row["macro_f1"]["mean"], abs=1e-6)
    assert searched.frozen[0].user_attrs["config"]["class_weights"] == "balanced"
    assert json.loads((place / "out" / "evaluation.json").read_text())["test_images"] == 140
    saved = load_model(place / "out" / "winner", "photos")
    paths = sorted((place / "photos" / "the digit 3").iterdir())[:5]
    assert predict(saved, paths)[0].name in saved.classes  # of 40 x 32 pixels: scaled as in training


def test_broken_files_are_named_before_the_first_trial(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "photos", tmp_path / "photos")
    shutil.copy(EXAMPLE, tmp_path / "study.py")
    for number in range(3):
        (tmp_path / "photos" / "the digit 1" / f"torn {number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    with pytest.raises(DataError) as caught:
        inspect_study(find_study(str(tmp_path / "study.py")), "cpu")
    said = str(caught.value)
    assert "no image that can be read" in said
    assert f"{tmp_path}/photos/the digit 1/torn " in said
    assert f'{tmp_path}/study.py, line 8: dataset=ImageFolder("photos", size=32, test=0.2)' in said


def test_processes_decode_what_one_does(place: Path, tmp_path: Path) -> None:
    """Each its share of the files, broken ones named."""
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"\x89PNG\r\n\x1a\n")
    paths = [*sorted((place / "photos" / "the digit 3").iterdir())[:20], torn]
    found = find_study(str(place / "study.py"))
    alone, together = (_shared((len(paths), 3, 32, 32)) for _ in range(2))
    shape = (3, *found.study.dataset_row.shape[1:])
    names = [str(path) for path in paths]
    assert decode_share(names, shape, alone) == _by_processes(names, shape, together)
    assert alone[:20].any()
    assert np.array_equal(alone, together)


def test_images_that_changed_since_the_last_trial_are_told(
    place: Path, searched: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is checked or trained on them unless that is said; then the study says that it mixes both."""
    photo = place / "photos" / "the digit 3" / "one more.png"
    Image.fromarray(np.full((32, 32, 3), 77, np.uint8)).save(photo)
    try:
        with pytest.raises(CodeMismatch) as caught:
            hpo.run(str(place / "study.py"), trials=3, trainers=1)
        assert 'study "photos" was trained with other data (2 finished trials)' in str(caught.value)
        assert "images in photos   " in str(caught.value)
        assert run_command(["check", "--study", str(place / "study.py")]) == CodeMismatch.exit_code
        assert caught.value.fact in capsys.readouterr().err
        said = check_stored_code(find_study(str(place / "study.py")).study, Settings.read(), accepted=True)
        assert said.endswith("the study mixes old and new trials")
    finally:
        photo.unlink()
    assert hpo.run(str(place / "study.py"), trials=2, trainers=1).counts["complete"] == 2


def test_a_trainer_that_starts_late_trains_on_the_images_of_the_start(place: Path, searched: Any) -> None:
    """They are kept: a change in mid-run reaches no trial."""
    found = find_study(str(place / "study.py"))
    assert found.dataset["options"]["digest"]
    photo = place / "photos" / "the digit 5" / "one more.png"
    Image.fromarray(np.full((32, 32, 3), 99, np.uint8)).save(photo)
    try:
        assert inspect_study(found, "cpu").train_images == 448
    finally:
        photo.unlink()


def test_the_shipped_study_takes_the_images_of_the_folder_it_is_run_in(place: Path) -> None:
    """In a process of its own, which starts in that folder. Its branches are built; a step would take seconds."""
    (place / "images").symlink_to(place / "photos")
    code = (
        "import os; from hpo.study.discovery import find_study; from hpo.trainers.process import TrainerProcess;"
        "from hpo.trainers.preflight import inspect_with, request; found = find_study('resnet_folder');"
        "process = TrainerProcess('cpu', environ=os.environ); process.send(request(found));"
        "print(len(inspect_with(process, found.study.name)[1].costs)); process.kill()"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=place, env=environ)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1
