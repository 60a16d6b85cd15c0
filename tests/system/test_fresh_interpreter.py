"""What a fresh Python has loaded, and how it is set up: light where people wait, heavy where work is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def modules_of(room: str) -> list[str]:
    """Every module of a folder of hpo/."""
    files = sorted((ROOT / "hpo" / room).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names]


LIGHT = ["hpo", "hpo.models", "hpo.data", "hpo.errors", "hpo.duration", "hpo.settings", "hpo.messages", "hpo.cli.app"]


def loaded(statement: str, **environ: str) -> set[str]:
    """The packages a fresh interpreter has after `statement`."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **environ},
    )  # fmt: skip
    return set(done.stdout.split("\n")[-2].split())


def test_declarations_import_light() -> None:
    light = [*LIGHT, *modules_of("study")]
    assert not loaded(f"import {', '.join(light)}") & {"torch", "optuna", "sqlalchemy", "pandas", "numpy"}


def test_no_torch_where_nothing_trains_and_no_scipy_where_people_wait() -> None:
    begins = ["hpo.api", *modules_of("search"), *modules_of("results"), *modules_of("insight")]
    assert not loaded(f"import {', '.join(begins)}") & {"torch", "scipy"}
    assert "torch" not in loaded(f"import {', '.join(modules_of('dashboard'))}")


def test_the_trainer_loads_no_optuna() -> None:
    assert not loaded("import hpo.trainer") & {"optuna", "sqlalchemy", "psycopg2", "typer"}


def test_the_digits_are_decoded_without_scikit_learn(tmp_path: Path) -> None:
    """Every first trainer of a home folder does it."""
    load = f"load('train', Folders(None, Path({str(tmp_path)!r})))"
    imports = "from pathlib import Path; from hpo.data.digits import load; from hpo.data.files import Folders"
    assert not loaded(f"{imports}; {load}") & {"sklearn", "scipy"}


def test_the_trainer_of_commands_loads_none_of_it() -> None:
    """So one starts at once, and leaves its memory and its GPU to the program."""
    heavy = {"torch", "numpy", "optuna", "sqlalchemy", "psycopg2", "typer", "rich"}
    assert not loaded("import hpo.command_trainer") & heavy


def test_every_study_loads_without_torch_and_optuna() -> None:
    assert not loaded("import hpo.study.discovery; hpo.study.discovery.list_studies()") & {
        "torch",
        "optuna",
        "sqlalchemy",
    }


@pytest.mark.parametrize(
    "words", ["--help", "--version", "studies", "space --study mlp_digits", "check --study mlp_digits"]
)
def test_quick_commands_stay_quick(words: str, tmp_path: Path) -> None:
    """What makes them slow is an import, so that is what is checked, not the clock.

    Where nothing has run yet: `check` looks into a database that is there.
    """
    code = f"from hpo.cli.main import run_command; assert run_command({words.split()!r}) == 0; print()"
    assert not loaded(code, HPO_HOME=str(tmp_path)) & {"torch", "optuna", "sqlalchemy", "pandas", "numpy", "psycopg2"}


def test_declaring_and_finding_studies_loads_neither_torch_nor_optuna() -> None:
    code = (
        "import sys; from hpo.study.discovery import list_studies; [f.study.fingerprint() for f in list_studies()];"
        "sys.exit(bool({'torch', 'optuna', 'sqlalchemy', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_module_in_the_working_folder_is_found_without_hiding_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("raise RuntimeError('the wrong data')\n")
    (tmp_path / "mine_here.py").write_text(
        "from hpo import Study\n"
        "small = Study(name='small', dataset='digits', model='perceptron',\n"
        "    space={'batch_size': 8, 'lr': 0.1}, baseline={})\n"
    )
    code = (
        "import sys; sys.path = [p for p in sys.path if p]; from hpo.study.discovery import find_study;"
        "f = find_study('mine_here:small'); sys.exit(f.sys_path != (sys.argv[1],))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, check=False)
    assert done.returncode == 0


_PREPARED = """
import torch
from hpo.training.device import open_device, peak_memory_bytes, reset_peak_memory

device = open_device("cpu")
assert torch.get_num_threads() == 1
assert (torch.tensor([1e-38]) * 1e-3).item() == 0.0, "denormal numbers are not flushed"
peaks = []
for size in (30_000_000, 1):
    reset_peak_memory(device)
    before = peak_memory_bytes(device)
    torch.ones(size).sum()
    peaks.append(peak_memory_bytes(device) - before)
print(*peaks)
"""


def test_the_cpu_runs_one_thread_and_knows_its_peak_memory() -> None:
    """One thread, denormals flushed, and a peak that is there after the memory was given back."""
    program = subprocess.run([sys.executable, "-c", _PREPARED], capture_output=True, text=True, check=True)
    large, small = map(int, program.stdout.split())
    assert large > 100_000_000
    assert small < 20_000_000


_TRAINED = """
import sys, torch
from hpo.training.fast_paths import fused
from hpo.training.configuration import Recipe
from hpo.training.kernels.layers import read_layers
from hpo.training.optimizers import build_optimizer
from hpo.models.mlp import perceptron

recipe, cpu, model = Recipe.read({"batch_size": 2, "lr": 0.1}), torch.device("cpu"), perceptron((1, 8, 8), 10)
optimizer = build_optimizer(model, recipe, cpu)
chain = fused(model, (1, 8, 8), optimizer, recipe, cpu)
chain.learn(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))
assert "torch._dynamo" not in sys.modules, "a chain has loaded the compiler"
"""


def test_a_chain_needs_no_compiler_of_torch() -> None:
    """torch._dynamo is 160 MB in every trainer and a second of its start."""
    subprocess.run([sys.executable, "-c", _TRAINED], check=True)
