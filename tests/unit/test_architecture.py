"""docs/architecture.md names what the code has: each call of its walk, and each folder and file in its table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import test_imports

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
OURS = ("hpo/", "models/", "data/", "studies/")
ROWS = [row for row in PAGE.split("| file or folder |")[1].splitlines()[2:] if row.startswith("|")]
TABLE = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in ROWS]


def defined(module: str, path: Path) -> Iterator[str]:
    """What a module holds, by the names that the page may use."""
    yield module
    for node in test_imports.tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield f"{module}.{node.name}"
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield f"{module}.{node.name}.{method.name}"
                    yield f"{node.name}.{method.name}"


def test_every_call_that_the_page_names_is_in_the_code() -> None:
    known = {name for module, path in test_imports.MODULES.items() for name in defined(module, path)}
    named = re.findall(r"`((?:hpo\.|[A-Z]\w+\.)[\w.]+)`", PAGE)
    assert len(named) > 50
    assert [name for name in named if name not in {*known, "hpo.run"}] == []


def test_the_table_has_every_folder_and_file() -> None:
    """Each folder of code, and each file that is in none of them."""
    paths = [path for folder in OURS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    files = {path.relative_to(ROOT) for path in paths if path.is_file()}
    folders = {f"{file.parent.as_posix()}/" for file in files} - {"hpo/"}
    alone = {file.as_posix() for file in files if file.parent == Path("hpo")}
    listed = [name for row in TABLE for name in row]
    assert sorted(folders | alone) == sorted(name for name in listed if name.startswith(OURS))
    assert [name for name in listed if not (ROOT / name).exists()] == []


def test_the_table_goes_from_the_ground_up() -> None:
    """In the order in which folders may import each other."""
    rows = [[path.removesuffix(".py").strip("/").replace("/", ".") for path in row] for row in TABLE]
    modules = [[path if path.startswith("hpo") else f"hpo.{path}" for path in row] for row in rows]
    floors = [[test_imports.floor(one) for one in row] for row in modules]
    lowest = [min(known) for row in floors if (known := [floor for floor in row if floor is not None])]
    assert len(lowest) > 20
    assert lowest == sorted(lowest)
