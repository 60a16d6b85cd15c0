"""Whatever goes wrong in a file of the user's: the message names that file and its line, and no file of hpo's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpo import Study
from hpo.data import Dataset, Folders
from hpo.messages import Inspect
from hpo.models import Model
from hpo.study.discovery import FoundStudy
from hpo.trainers.jobs import study_job
from hpo.training.outcomes import failure
from hpo.training.preflight import inspect_study
from hpo.training.train_val_split import DataCache

IMPORTS = "import torch\nfrom torch import nn\nfrom hpo.data import RawImages, cached, checksum\n"
IMAGES = "torch.zeros(40, 1, 4, 4, dtype=torch.uint8)"
LABELS = "torch.arange(40) % 2"
LOAD = f"def load(split, folders):\n    images, labels = {IMAGES}, {LABELS}\n"
GOOD = LOAD + "    return RawImages(images, labels, checksum(images, labels))\n"
BUILD = "def build(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes))\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that modules can be imported from, once."""
    path, modules = sys.path.copy(), set(sys.modules)
    sys.path.append(str(tmp_path))
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def request(folder: Path, code: str, helper: str = "") -> Inspect:
    """The inspection of a study whose loader and builder stand in own_code.py, which may import own_helper.py."""
    (folder / "own_code.py").write_text(IMPORTS + code)
    (folder / "own_helper.py").write_text(helper)
    study = Study(
        name="own",
        dataset=Dataset("own_code:load", shape=(1, 4, 4), classes=("a", "b")),
        model=Model("own_code:build"),
        space={"batch_size": 8, "lr": 0.1},
        baseline={},
    )
    found = FoundStudy(study, folder / "study.py", (str(folder),))
    return Inspect(study_job(found, {}), [study.baseline_config], rehearse=True)


HELPED = "import own_helper\n" + GOOD + BUILD
IMAGE_LIST = "    return RawImages(images.tolist(), labels, '')\n"
BROKEN = [
    (HELPED, "x = (1,\n", "own_helper.py, line 1", "cannot be imported"),
    (HELPED, "\nimport no_such_thing\n", "own_helper.py, line 2", "cannot be imported"),
    (HELPED, "raise SystemExit(3)\n", "own_helper.py, line 1", "cannot be imported"),
    (GOOD + "def build(shape, classes):\n    return None\n", "", "own_code.py, line 7: def build", "returned NoneType"),
    (GOOD + "def build(shape):\n    return None\n", "", "own_code.py, line 7: def build", "cannot be called"),
    (GOOD + "class build:\n    pass\n", "", "own_code.py, line 7: class build", "cannot be called"),
    (GOOD + "def build(shape, classes):\n    exit(3)\n", "", "own_code.py, line 8: exit(3)", "SystemExit"),
    (BUILD + "def load(split, folders):\n    1 / 0\n", "", "own_code.py, line 7: 1 / 0", "ZeroDivisionError"),
    (BUILD + "def load(split, folders):\n    exit(3)\n", "", "own_code.py, line 7: exit(3)", "SystemExit"),
    (BUILD + "def load(split):\n    pass\n", "", "own_code.py, line 6: def load", "cannot be called"),
    (BUILD + "def load(split, folders):\n    return [1], [2]\n", "", "py, line 6: def load", "returned tuple"),
    (BUILD + LOAD + IMAGE_LIST, "", "own_code.py, line 6: def load", "images are list, not torch.Tensor"),
    (BUILD + LOAD + "    return RawImages(images, labels.numpy(), '')\n", "", "line 6: def load", "labels are ndarray"),
    (BUILD + LOAD + "    return RawImages(images, labels, None)\n", "", "line 6: def load", "checksum is NoneType"),
    (BUILD + LOAD + "    return RawImages(images.float(), labels, '')\n", "", "line 6: def load", "is not what"),
    (BUILD + LOAD + "    return RawImages(images.sum(), labels, '')\n", "", "line 6: def load", "is not what"),
    (BUILD + LOAD + "    checksum(images.tolist(), labels)\n", "", "py, line 8: checksum(", "AttributeError"),
    (
        BUILD + "def load(split, folders):\n    cached('own', split, '1', folders, lambda: ([1], [2]))\n",
        "",
        "own_code.py, line 7: cached(",
        "AttributeError",
    ),
]
"""own_code.py, own_helper.py; the place that is named, and the fact."""


@pytest.mark.parametrize(("code", "helper", "place", "fact"), BROKEN)
def test_a_refusal_names_the_users_line(folder: Path, code: str, helper: str, place: str, fact: str) -> None:
    data = DataCache(Folders(None, folder), torch.device("cpu"))
    problem = inspect_study(request(folder, code, helper), data, torch.device("cpu")).problem
    assert problem is not None
    said = str([problem["fact"], *problem["evidence"]])
    assert place in said, said
    assert fact in said, said
    assert str(Path(__file__).parents[2]) not in said, "names a file of hpo's"


def test_a_failed_trial_names_the_users_line_where_hpo_was_called_wrongly(folder: Path) -> None:
    asked = request(folder, BUILD + LOAD + "    return checksum(images.tolist(), labels)\n")
    job = replace(asked.job, config=asked.configs[0])
    data = DataCache(Folders(None, folder), torch.device("cpu"))
    with pytest.raises(AttributeError) as caught:
        data.parts(job)
    assert failure(job, caught.value).where.endswith("own_code.py:8")
