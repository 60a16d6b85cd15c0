"""hpo's own packages have common names. What a user's folder calls `models`, `data` or `studies` disturbs nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo.data.load import load_split
from hpo.errors import StudyError
from hpo.models.build import resolve
from hpo.study.discovery import find_study
from tests.installed import Installed, as_in_the_image, editable, from_wheel

CHECKOUT = Path(__file__).parents[2]
STUDY = """
import hpo
from hpo.models import Model
study = hpo.Study(
    name="mine", dataset="digits", model=Model("{builder}"), subset=100, epochs=1,
    space={{"batch_size": 64, "lr": hpo.Float(0.1, 1.0)}}, baseline={{"lr": 0.1}},
)
"""
MODEL = """
from torch import nn
def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))
"""
NOT_HPOS = "raise SystemExit('the user has a file of this name, and nothing of hpo may import it')\n"
NOTEBOOK = """
import code, sys
sys.path.insert(0, "")
shell = code.InteractiveInterpreter()
for cell in sys.stdin.read().split("# cell"):
    if shell.runsource(cell + chr(10), symbol="exec"):
        raise SystemExit("a cell is not complete")
"""
"""What a notebook's kernel does: the current folder comes first, and each cell is run in one namespace."""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/', 1)}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def bare_folders(folder: Path) -> None:
    for name in ("data", "models", "studies"):
        (folder / name).mkdir()
        (folder / name / "train.csv").touch()


def packages(folder: Path) -> None:
    write(folder, data____init__=NOT_HPOS, models____init__=NOT_HPOS, studies____init__=NOT_HPOS)


def modules(folder: Path) -> None:
    write(folder, data=NOT_HPOS, models=NOT_HPOS, studies=NOT_HPOS)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    wheel = from_wheel(tmp_path_factory.mktemp("wheel"))
    return {"editable": editable(), "wheel": wheel, "image": as_in_the_image(wheel)}


@pytest.mark.parametrize("files", [bare_folders, packages, modules])
@pytest.mark.parametrize("kind", ["editable", "wheel", "image"])
def test_what_a_folder_calls_its_own_disturbs_nothing(
    kind: str, files: Callable[[Path], None], installed: dict[str, Installed], tmp_path: Path
) -> None:
    """`hpo`, `python -m hpo` and `import hpo` find hpo's models, data sets and studies, whatever lies there.

    A trainer does, too: of each installation and of each kind of files once, for it has torch to load.
    """
    files(tmp_path)
    hpo = installed[kind]
    command = ["python", "-m", "hpo"] if kind == "wheel" else ["hpo"]
    trains = (kind, files) in {("editable", modules), ("wheel", packages), ("image", bare_folders)}
    done = hpo.run(tmp_path, *command, "check" if trains else "space", "--study", "mlp_digits")
    assert done.returncode == 0, done.stderr
    imports = "import hpo.data, hpo.models, hpo.studies.mlp_digits; print(hpo.__file__)"
    done = hpo.run(tmp_path, "python", "-c", imports)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(hpo.python.parents[1]) is (kind != "editable")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("editable", ["hpo", "run"]),
        ("editable", ["python", "-m", "hpo", "run"]),
        ("wheel", ["python", "-m", "hpo", "run"]),
        ("image", ["hpo", "run"]),
    ],
)
def test_trainers_import_a_users_models_package(
    kind: str, words: list[str], installed: dict[str, Installed], tmp_path: Path, database_url: str
) -> None:
    """A study's own builder is found in `models/` beside it, and hpo's own model in hpo."""
    write(tmp_path, mine=STUDY.format(builder="models.net:build"), models____init__="", models__net=MODEL)
    write(tmp_path, data____init__=NOT_HPOS, studies____init__=NOT_HPOS)
    options = ["--trials", "1", "--trainers", "1", "--storage", database_url, "--device", "cpu"]
    done = installed[kind].run(tmp_path, *words, "--study", "mine.py", *options)
    assert done.returncode == 0, done.stderr
    assert "1 complete" in done.stdout


@pytest.mark.parametrize("kind", ["editable", "wheel"])
def test_a_notebook_beside_files_of_these_names_searches(
    kind: str, installed: dict[str, Installed], tmp_path: Path, database_url: str
) -> None:
    """A study declared in a cell, with a model from models.py in the current folder."""
    write(tmp_path, models=MODEL, data=NOT_HPOS, studies=NOT_HPOS)
    run = f'result = hpo.run(study, trials=1, trainers=1, storage="{database_url}")'
    cells = [STUDY.format(builder="models:build"), run, "print(result.counts)"]
    done = installed[kind].run(tmp_path, "python", "-c", NOTEBOOK, stdin="# cell\n".join(cells))
    assert "'complete': 1" in done.stdout, done.stdout + done.stderr


def test_the_first_commands_of_a_new_user_work_from_a_wheel(installed: dict[str, Installed], tmp_path: Path) -> None:
    """With the database that comes with hpo, in a folder that has data/ and models/__init__.py."""
    (tmp_path / "data").mkdir()
    write(tmp_path, models____init__=NOT_HPOS)
    hpo = installed["wheel"]
    done = hpo.run(tmp_path, "hpo", "run", "--study", "mlp_digits", "--trials", "5")
    assert done.returncode == 0, done.stderr
    state = hpo.run(tmp_path, "hpo", "trials", "--study", "mlp_digits", "--json")
    assert len(json.loads(state.stdout)) == 5, state.stderr
    code = "import hpo; result = hpo.run('mlp_digits', trials=6); print(sum(result.counts.values()), result.best.value)"
    done = hpo.run(tmp_path, "python", "-c", code)
    assert done.stdout.startswith("6 0."), done.stdout + done.stderr


FORMER_LINES = {
    "from models import Model": "from hpo.models import Model",
    "from data import Dataset": "from hpo.data import Dataset",
    "import models; models.MODELS": "from hpo.models import ...",
    "from models.mlp import mlp": "from hpo.models.mlp import mlp",
    "from studies.mlp_digits import study": "from hpo.studies.mlp_digits import study",
}
FIND_ALL = """
from pathlib import Path
from hpo.errors import StudyError
from hpo.study.discovery import find_study
for path in sorted(Path().glob("study_*.py")):
    try:
        find_study(str(path))
    except StudyError as error:
        print(error)
"""


@pytest.mark.parametrize("own", [True, False])
def test_a_line_that_imports_hpos_packages_by_their_former_names_is_told_the_new_one(
    own: bool, tmp_path: Path, installed: dict[str, Installed]
) -> None:
    """Also where the user has a file of that name, in which it is not found."""
    for number, line in enumerate(FORMER_LINES):
        write(tmp_path, **{f"study_{number}": line})
    if own:
        write(tmp_path, models="mine = 1", data="mine = 1", studies="mine = 1")
    done = installed["wheel"].run(tmp_path, "python", "-c", FIND_ALL)
    for number, (line, now) in enumerate(FORMER_LINES.items()):
        told = done.stdout.split("study ")[number + 1]
        assert f"{tmp_path / f'study_{number}.py'}, line 1: {line}" in told
        assert f"write `{now}`" in told.splitlines()[2]


def test_a_checkouts_folders_are_not_imported_by_their_former_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the repository is on the import path, `models` would be a second copy, whose Model no study takes."""
    monkeypatch.syspath_prepend(str(CHECKOUT))
    monkeypatch.delitem(sys.modules, "models", raising=False)
    write(tmp_path, mine="from models import Model")
    with pytest.raises(StudyError, match=r"imported as hpo\.models") as caught:
        find_study(str(tmp_path / "mine.py"))
    assert "`from hpo.models import Model`" in caught.value.next
    assert str(tmp_path / "mine.py") in str(caught.value)


def test_a_builder_or_loader_by_its_former_name_is_told_the_new_one(tmp_path: Path) -> None:
    """A reference as earlier versions stored it."""
    with pytest.raises(StudyError) as caught:
        resolve("models.mlp:mlp", "model builder")
    assert caught.value.next == 'hpo\'s own is "hpo.models.mlp:mlp"'
    with pytest.raises(StudyError, match=r"data\.mnist:load_mnist") as caught:
        load_split("mine", "data.mnist:load_mnist", "train", None, (1, 28, 28), 10)  # type: ignore[arg-type]
    assert "hpo.data.mnist:load_mnist" in caught.value.next


def test_a_users_loader_that_imports_by_a_former_name_is_told_the_new_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, loader_of_before="from data.files import RawImages")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StudyError) as caught:
        resolve("loader_of_before:load", "data loader")
    assert "`from hpo.data.files import RawImages`" in caught.value.next


def test_a_users_own_module_that_does_not_import_is_not_taken_for_hpos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models.net` was never hpo's, so the advice is about the user's own file."""
    write(tmp_path, models____init__="")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "models", raising=False)
    with pytest.raises(StudyError) as caught:
        resolve("models.net:build", "model builder")
    del sys.modules["models"]
    assert "import models.net" in caught.value.next
