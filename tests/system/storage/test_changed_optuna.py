"""An Optuna that lacks one of the private names hpo uses: commands that read work unchanged, a search goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
import psycopg2
import pytest
from sqlalchemy.engine import URL

from hpo.storage.optuna_internals import PRIVATE_NAMES

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("changed_optuna.py")


def without(name: str, folder: Path) -> Path:
    """A copy of the installed Optuna in which `name` has another name everywhere, so that only hpo misses it."""
    word = name.rpartition(".")[2]
    copy = folder / "optuna"
    shutil.copytree(Path(optuna.__file__).parent, copy)
    for path in copy.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        renamed = re.sub(rf"\b{word}\b", f"{word}_renamed", text)
        if renamed != text:
            path.write_text(renamed, encoding="utf-8")
    for path in sorted(copy.rglob(word)) + sorted(copy.rglob(f"{word}.py")):
        path.rename(path.with_name(path.name.replace(word, f"{word}_renamed")))
    return folder


@pytest.fixture(scope="module")
def database(postgres_server: URL) -> Iterator[str]:
    """One database for every Optuna here, each with a study of its own."""
    name = f"t{uuid4().hex[:12]}"
    connection = psycopg2.connect(host=postgres_server.query["host"], user=postgres_server.username, dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE ready")
        yield postgres_server.set(database=name).render_as_string(hide_password=False)
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


@pytest.fixture(scope="module")
def ask(database: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path | None], dict[str, Any]]:
    """What changed_optuna.py prints with the Optuna in a folder; None: with the installed one."""

    def program(folder: Path | None) -> dict[str, Any]:
        home = tmp_path_factory.mktemp("home")
        path = os.pathsep.join(str(each) for each in (folder, ROOT) if each)
        environment = {**os.environ, "PYTHONPATH": path, "HPO_HOME": str(home)}
        done = subprocess.run(
            [sys.executable, str(PROGRAM), database, f"s{uuid4().hex[:8]}", str(home / "report")],
            capture_output=True, text=True, check=False, env=environment, cwd=home,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        assert Path(answer.pop("optuna")).is_relative_to(folder or "/")
        return answer

    return program


@pytest.fixture(scope="module")
def expected(ask: Callable[[Path | None], dict[str, Any]]) -> dict[str, Any]:
    """The answers with the installed Optuna."""
    found = ask(None)
    assert found["note"] == ""
    assert {trial[0] for trial in found["searched"]} == {"COMPLETE", "PRUNED"}
    assert [found[word][0] for word in ("status", "best", "trials", "report")] == [0] * 4
    return found


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_without_a_private_name_commands_read_the_same_and_a_search_proposes_and_prunes_the_same(
    name: str, expected: dict[str, Any], ask: Callable[[Path | None], dict[str, Any]], tmp_path: Path
) -> None:
    found = ask(without(name, tmp_path))
    note = found.pop("note")
    assert found == {key: value for key, value in expected.items() if key != "note"}
    if ".samplers." in name:
        assert note.startswith("note: Optuna's own TPESampler proposes the trials")
        assert "\n" not in note
    else:
        assert note == ""


STUDY = """
from hpo import TPE, Float, Int, Study

study = Study(
    name="changed",
    dataset="digits",
    model="shallow",
    space={"batch_size": Int(32, 64), "hidden_units": Int(8, 32), "lr": Float(1e-3, 1e-1, log=True)},
    baseline={"batch_size": 64, "hidden_units": 16, "lr": 1e-2},
    epochs=2,
    sampler=TPE(startup_trials=2),
)
"""


def test_a_whole_run_without_tpes_private_names_says_so_once_and_ends_as_any_run(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "changed.py").write_text(STUDY)
    folder = without("optuna.samplers._tpe.parzen_estimator._ParzenEstimator", tmp_path)
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "HPO_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "hpo", "run", "--study", "changed.py", "--trials", "5", "--storage", database_url],
        capture_output=True, text=True, check=False, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Optuna's own TPESampler proposes the trials") == 1
    trials = optuna.load_study(study_name="changed", storage=database_url).trials
    assert [trial.state.is_finished() for trial in trials] == [True] * 5
