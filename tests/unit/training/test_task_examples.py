"""The examples of docs/how-to, each loaded, inspected and trained as it stands there, and the studies of the tasks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from hpo import Study
from hpo.data import Folders
from hpo.data.shapes import drawn
from hpo.messages import Inspect, Job
from hpo.study.discovery import find_study
from hpo.training.fit import fit
from hpo.training.preflight import inspect_study
from hpo.training.progress import StopRequest
from hpo.training.train_val_split import DataCache

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def houses(folder: Path) -> None:
    rows = [f"{n},{n % 9 + 1},{'sea' if n % 3 else 'town'},{(n % 9 + 1) * 1.5 + (n % 3 > 0)}" for n in range(160)]
    (folder / "houses.csv").write_text("\n".join(["number,rooms,place,price", *rows]))


def cells(folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / "cells" / name).mkdir(parents=True)
    for number, (image, mask) in enumerate(zip(*drawn(40, 3), strict=True)):
        Image.fromarray(image[0].numpy()).save(folder / "cells" / "images" / f"{number}.png")
        Image.fromarray(mask.numpy()).save(folder / "cells" / "masks" / f"{number}.png")


def parts(folder: Path) -> None:
    rows = [f"{n % 7},{n % 11},{'cracked' if n % 12 == 0 else 'sound'}" for n in range(240)]
    (folder / "parts.csv").write_text("\n".join(["weight,length,state", *rows]))


def trained(study: Study, folder: Path, epochs: int = 2, subset: int | None = None) -> dict[str, float]:
    """Inspect the study and train its baseline, as a trainer would."""
    model, row = study.model_row, study.dataset_row
    named = {"builder": model.builder, "reads": list(model.reads)}
    protocol = replace(study.protocol(), epochs=epochs, subset=subset)
    job = Job(
        1, 0, study.baseline_config, protocol, named, row.for_trainer(study.dataset_name), 0, parts=study.parts.as_job()
    )
    cpu = torch.device("cpu")
    data = DataCache(Folders(None, folder / "cache"), cpu)
    inspected = inspect_study(Inspect(job, [job.config], rehearse=False), data, cpu)
    assert inspected.problem is None
    finished = fit(job, data, cpu, lambda epoch: None, StopRequest())
    assert finished.outcome == "complete"
    return finished.metrics


def photos(folder: Path) -> None:
    random = torch.Generator().manual_seed(0)
    for number in range(60):
        place = folder / "photos" / ("cat" if number % 2 else "a dog")
        place.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (24, 40, 3), generator=random, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(place / f"{number}.png")


def nothing(folder: Path) -> None:
    """The example makes its own."""


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("regression", houses), ("segmentation", cells), ("imbalance", parts), ("angle", nothing), ("folder", photos)
    ],
)  # fmt: skip
def test_an_example_trains_as_it_stands(
    name: str, made: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (*EXAMPLES.glob("tasks/*.py"), *EXAMPLES.glob("data/*.py")):
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    made(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for own in ("mask_data", "angle_task"):
        monkeypatch.delitem(sys.modules, own, raising=False)
    study = find_study(str(tmp_path / f"{name}.py")).study
    assert study.objectives[0] in trained(study, tmp_path)


@pytest.mark.parametrize("name", ["segmentation_shapes", "regression_digits"])
def test_a_study_of_a_task_trains(name: str, tmp_path: Path) -> None:
    study = find_study(name).study
    assert study.objectives[0] in trained(study, tmp_path, epochs=1, subset=100)
