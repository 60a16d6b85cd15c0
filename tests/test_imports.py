"""Imports go one way, heavy packages stay where they belong, files stay short, and only the command line prints."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hpo", "models", "data", "studies")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST = 250

TRAINER_SIDE = ("hpo.training", "hpo.trainer", "hpo.inference", "models", "data")
NO_TORCH = ("hpo", "studies")
"""Everything of these but the trainer's side imports without torch."""

FREE_OF_TORCH = [
    "hpo.space",
    "hpo.study",
    "hpo.discovery",
    "hpo.recipe",
    "hpo.messages",
    "hpo.best",
    "hpo.cli",
    "data",
    "models",
]
FREE_OF_OPTUNA = [
    *FREE_OF_TORCH,
    "hpo.protocol",
    "hpo.samplers",
    "hpo.pruners",
    "hpo.settings",
    "hpo.errors",
    "hpo.duration",
]

LAYERS = [
    {"hpo.errors", "hpo.wording", "hpo.duration", "hpo.settings", "hpo.packages"},
    {
        "data",
        "models",
        "hpo.parameters",
        "hpo.space",
        "hpo.recipe",
        "hpo.protocol",
        "hpo.validation",
        "hpo.fields",
        "hpo.declared",
        "hpo.samplers",
        "hpo.pruners",
    },
    {"hpo.study", "hpo.discovery", "hpo.messages", "hpo.seeds", "hpo.distributions", "hpo.best"},
    {"hpo.storage", "hpo.reading"},
    {"hpo.coordinator", "hpo.dashboard", "hpo.report"},
    {"hpo.api", "hpo.evaluation", "hpo.reproduction", "hpo.doctor"},
    {"hpo.cli", "hpo.__main__"},
]
"""errors <- space <- study <- storage <- coordinator <- cli; a layer imports itself and what stands above it here."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, top_level_only: bool) -> set[str]:
    """Full names of what a file imports; what stands under TYPE_CHECKING is for the type checker only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def within(module: str, names: tuple[str, ...] | set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def layer_of(module: str) -> int | None:
    return next((index for index, names in enumerate(LAYERS) if within(module, names)), None)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    module = module_name(path)
    mine = layer_of(module)
    if mine is None or module == "hpo":
        return
    wrong = {name for name in imports_of(path, top_level_only=True) if (layer_of(name) or 0) > mine}
    assert not wrong, f"{module} imports {sorted(wrong)}, which come after it"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_the_two_sides_do_not_mix(path: Path) -> None:
    """Neither side imports the other's heavy packages, not even inside a function."""
    module = module_name(path)
    names = imports_of(path, top_level_only=False)
    roots = {name.split(".")[0] for name in names}
    if within(module, TRAINER_SIDE):
        assert not roots & {"optuna", "sqlalchemy", "psycopg2", "typer", "rich"}
        assert not any(within(name, ("hpo.storage", "hpo.coordinator", "hpo.cli", "hpo.api")) for name in names)
    elif within(module, NO_TORCH):
        assert not roots & {"torch", "torchvision"}
        assert not any(within(name, ("hpo.training", "hpo.trainer")) for name in names)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize(
    "path", [path for path in FILES if not within(module_name(path), ("hpo.cli",))], ids=module_name
)
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    """A library returns or raises; the trainer is a process of its own, so its main may exit."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names = {ast.unparse(call) for call in calls}
    allowed = {"sys.exit", "print"} if module_name(path) == "hpo.trainer" else set()
    assert not (names & {"print", "sys.exit", "exit", "quit"}) - allowed


def loaded(statement: str, **environ: str) -> set[str]:
    """The packages a fresh interpreter has after `statement`."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **environ},
    )  # fmt: skip
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize("module", FREE_OF_OPTUNA)
def test_declarations_import_light(module: str) -> None:
    assert not loaded(f"import {module}") & {"torch", "optuna", "sqlalchemy", "pandas", "numpy"}


@pytest.mark.parametrize(
    "module", ["hpo.storage.rows", "hpo.storage.mirror", "hpo.reading", "hpo.api", "hpo.dashboard"]
)
def test_the_coordinator_never_loads_torch(module: str) -> None:
    assert "torch" not in loaded(f"import {module}")


def test_the_trainer_loads_no_optuna() -> None:
    assert not loaded("import hpo.trainer") & {"optuna", "sqlalchemy", "psycopg2", "typer"}


def test_every_study_loads_without_torch_and_optuna() -> None:
    assert not loaded("import hpo.discovery; hpo.discovery.list_studies()") & {"torch", "optuna", "sqlalchemy"}


@pytest.mark.parametrize(
    "words", ["--help", "--version", "studies", "space --study mlp_digits", "check --study mlp_digits"]
)
def test_quick_commands_stay_quick(words: str, tmp_path: Path) -> None:
    """What makes them slow is an import, so that is what is checked, not the clock.

    Where nothing has run yet: `check` looks into a database that is there.
    """
    code = f"from hpo.cli import run_command; assert run_command({words.split()!r}) == 0; print()"
    assert not loaded(code, HPO_HOME=str(tmp_path)) & {"torch", "optuna", "sqlalchemy", "pandas", "numpy", "psycopg2"}


def test_all_names_exist() -> None:
    import hpo

    missing = [name for name in hpo.__all__ if not hasattr(hpo, name)]
    assert not missing
