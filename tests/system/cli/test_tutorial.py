"""docs/tutorial-own-training.md: its scripts run through each door, and it shows them as they are."""

from __future__ import annotations

import difflib
import re
import shutil
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from cli_commands import ROOT, Command
from frameworks import needs
from sqlalchemy import Engine

EXAMPLES = ROOT / "docs" / "examples" / "own_training"
PAGE = (ROOT / "docs" / "tutorial-own-training.md").read_text(encoding="utf-8")
FASHION = {"train": 600, "t10k": 100}


def idx(values: torch.Tensor) -> bytes:
    """A tensor of uint8 as an idx file: two zeros, the type, the number of dimensions, each of them, the bytes."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.numpy().tobytes()


@pytest.fixture
def environ(engine: Engine, tmp_path: Path) -> Mapping[str, str]:
    """A folder with the scripts alone, and data of Fashion-MNIST's layout whose brightness tells the class."""
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split, count in FASHION.items():
        labels = (torch.arange(count) % 10).to(torch.uint8)
        images = 25 * labels.view(-1, 1, 1) + torch.randint(0, 25, (count, 28, 28), dtype=torch.uint8)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    for example in EXAMPLES.glob("*.py"):
        shutil.copy(example, tmp_path)
    return {
        "HPO_STORAGE": engine.url.render_as_string(hide_password=False),
        "HPO_DATA_DIR": str(tmp_path / "data"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",  # the study says `python`
    }


def searched(hpo: Command, environ: Mapping[str, str], *words: str) -> None:
    """`hpo run` for two trials of a study called `mine`, which all end well."""
    words = ("run", "--study", *words, "--name", "mine", "--trials", "2", "--trainers", "1")
    done = hpo(*words, env=environ)
    assert done.code == 0, done.err
    assert "all trials are done" in done.out
    assert "trials  2 complete\n" in done.out.replace("trials    2", "trials  2")


@pytest.mark.parametrize(
    "words", [("objective.py:objective", "--direction", "maximize"), ("command.py",)], ids=["objective", "command"]
)
def test_an_objective_and_a_command_run_and_what_needs_a_model_is_refused_at_once(
    words: tuple[str, ...], environ: Mapping[str, str], hpo: Command
) -> None:
    """Two refusals came before the one that said so: first the file had to be named, then the function in it."""
    searched(hpo, environ, *words)
    for command in (("evaluate",), ("reproduce", "--trial", "0")):
        done = hpo(*command, "--study", "mine", env=environ)
        assert done.code == 2
        assert f"hpo {command[0]} needs a model that hpo trains" in done.err
        assert "`hpo best`, `trials` and `report --study mine` show what it found" in done.err


def test_the_function_with_resume_runs_and_has_an_honest_test(environ: Mapping[str, str], hpo: Command) -> None:
    searched(hpo, environ, "resumed.py")
    done = hpo("evaluate", "--study", "resumed.py", "--name", "mine", "--seeds", "2", env=environ)
    assert done.code == 0, done.err
    assert "test_accuracy" in done.out


@pytest.mark.parametrize("script", [pytest.param("hooked.py", marks=needs("lightning"))])
def test_the_script_in_lightnings_loop_runs(script: str, environ: Mapping[str, str], hpo: Command) -> None:
    searched(hpo, environ, script)


def test_the_check_of_a_command_shows_what_is_executed_in_a_column(environ: Mapping[str, str], hpo: Command) -> None:
    done = hpo("check", "--study", "command.py", env=environ)
    assert done.code == 0, done.err
    shown = [line for line in done.out.splitlines() if line.startswith(("in ", "baseline ", "end "))]
    assert len(shown) == 4
    assert {len(line) - len(line[8:].lstrip()) for line in shown} == {11}


def difference(name: str) -> list[str]:
    """The lines of `diff -U0 plain.py name`."""
    plain, other = ((EXAMPLES / one).read_text(encoding="utf-8").splitlines() for one in ("plain.py", name))
    return list(difflib.unified_diff(plain, other, "plain.py", name, n=0, lineterm=""))


def changed(name: str) -> tuple[int, int]:
    """How many lines it has that plain.py does not have, and how many of plain.py's it does not have."""
    lines = difference(name)[2:]
    return sum(line[0] == "+" for line in lines), sum(line[0] == "-" for line in lines)


def test_the_page_shows_the_files_as_they_are() -> None:
    files = {path.read_text(encoding="utf-8"): path.name for path in EXAMPLES.glob("*.py")}
    whole = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert [files.get(code, code) for code in whole] == ["plain.py", "command.py"]
    shown = [block.splitlines() for block in re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)]
    assert shown == [difference(name) for name in ("objective.py", "resumed.py", "hooked.py", "program.py")]


@pytest.mark.parametrize(
    "name", ["objective.py", "resumed.py", "hooked.py", "program.py", "ray_tune.py", "wandb_sweep.py"]
)
def test_the_page_counts_the_lines_that_each_way_changes(name: str) -> None:
    added, removed = changed(name)
    assert f"[{name}](examples/own_training/{name}) +{added} −{removed}" in PAGE  # noqa: RUF001
