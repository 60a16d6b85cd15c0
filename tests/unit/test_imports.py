"""Imports go one way, heavy packages stay where they belong, files stay short, and only the command line prints.

Each rule goes over every file: a failure lists the files that break it.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 300

ROOMS = [
    ["json_values", "own_messages", "own_metrics", "printable"],
    ["errors", "former_names", "names", "wording", "seeds", "signals", "atomic_file", "disk", "messages"],
    ["torch_internals", "user_code"],
    ["duration", "ownership", "decoding", "conforming", "user_function", "models"],
    ["settings", "storage.embedded"],
    ["data", "training.kernels"],
    ["study", "testing"],
    ["storage", "training"],
    ["sampling", "freeze_thaw", "results", "inference", "own_training", "channel", "commands", "fresh_process"],
    ["insight"],
    ["trainers", "trainer", "report", "integrations"],
    ["result", "command_trainer", "gang_trainer", "fork_server", "dashboard"],
    ["search"],
    ["ray", "evaluation", "reproduction", "doctor"],
    ["comparison"],
    ["api"],
    ["cli"],
    ["__main__"],
]
"""Every folder and file of hpo/, from the ground up. A room imports itself and what stands on a floor below its own."""

TRAINER_SIDE = (
    "hpo.torch_internals",
    "hpo.training",
    "hpo.own_training",
    "hpo.channel",
    "hpo.fresh_process",
    "hpo.commands",
    "hpo.trainer",
    "hpo.command_trainer",
    "hpo.gang_trainer",
    "hpo.fork_server",
    "hpo.inference",
    "hpo.integrations",
    "hpo.models",
    "hpo.data",
    "hpo.testing",
)
COORDINATOR_SIDE = ("hpo.storage", "hpo.sampling", "hpo.freeze_thaw", "hpo.search", "hpo.cli", "hpo.api")


def _modules() -> Iterator[tuple[str, Path]]:
    """Every module of hpo by the name it is imported under. models, data and studies stand beside hpo/."""
    for folder in ("hpo", "models", "data", "studies"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if folder == "hpo" else ("hpo", *parts)
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(_modules())
LIBRARY = {name: path for name, path in MODULES.items() if name != "hpo" and not name.startswith("hpo.studies")}
"""Without `hpo` itself, which only names what users import, and the declarations, which import only that."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Full names of what a file imports, inside functions and for the type checker too."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(full & MODULES.keys() or {node.module})
    return frozenset(found)


def within(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def floor(module: str) -> int | None:
    """Of the most specific room that `module` is in."""
    rooms = {f"hpo.{room}": number for number, rooms in enumerate(ROOMS) for room in rooms}
    mine = [room for room in rooms if within(module, [room])]
    return rooms[max(mine, key=len)] if mine else None


def room(module: str) -> str:
    return max((f"hpo.{name}" for names in ROOMS for name in names if within(module, [f"hpo.{name}"])), key=len)


def wrong(modules: dict[str, Path], broken: Callable[[str, Path], Iterable[str]]) -> list[str]:
    """What every module breaks of a rule, as one list."""
    return [f"{name}: {what}" for name, path in modules.items() for what in sorted(broken(name, path))]


def test_every_file_is_in_a_room() -> None:
    unlisted = [name for name in LIBRARY if floor(name) is None]
    assert unlisted == []
    gone = [name for names in ROOMS for name in names if not any(within(one, [f"hpo.{name}"]) for one in MODULES)]
    assert gone == []


def test_imports_go_one_way() -> None:
    """A file imports its own room and lower floors, and never a neighbour on its own floor."""

    def broken(name: str, path: Path) -> set[str]:
        ours = {other for other in imports_of(path) if within(other, LIBRARY) and other != "hpo"}
        mine, level = room(name), floor(name)
        assert level is not None
        return {other for other in ours if room(other) != mine and (floor(other) or 0) >= level}

    assert wrong(LIBRARY, broken) == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Not for the type checker either."""
    edges = {
        name: {other for other in imports_of(path) if other in LIBRARY and other != name}
        for name, path in LIBRARY.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in edges[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in edges:
        visit(name, ())


def test_an_import_names_its_module_in_full() -> None:
    """The rules here go by full names. `hpo` itself, which names what users import, would lead past them."""

    def broken(name: str, path: Path) -> set[str]:
        found = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)]
        relative = {ast.unparse(node) for node in found if node.level}
        names = {f"hpo.{alias.name}" for node in found if node.module == "hpo" for alias in node.names}
        return relative | (names - MODULES.keys() - {"hpo.__version__"})

    assert wrong(LIBRARY, broken) == []


def test_the_two_sides_do_not_mix() -> None:
    """Neither side imports the other's heavy packages, not even inside a function."""

    def broken(name: str, path: Path) -> set[str]:
        names = imports_of(path)
        if name == "hpo.own_training.optuna_objects":
            return set()  # for scripts that have imported Optuna themselves
        if within(name, TRAINER_SIDE):
            heavy = {"optuna", "sqlalchemy", "psycopg2", "typer", "rich"}
            return {one for one in names if one.split(".")[0] in heavy or within(one, COORDINATOR_SIDE)}
        return {one for one in names if within(one, ("torch", "torchvision", "hpo.training", "hpo.trainer"))}

    assert wrong(MODULES, broken) == []


def test_files_stay_short() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST}


def test_a_class_name_means_one_thing() -> None:
    """Private classes and those in functions apart, which only their own file can mean; and the hook of a framework,
    which has one name in each of their files, as a user of one of them writes it."""
    found = [
        (node.name, name)
        for name, path in LIBRARY.items()
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if not (node.name == "HpoCallback" and room(name) == "hpo.integrations")
    ]
    names = [name for name, _ in found]
    assert [one for one in found if names.count(one[0]) > 1] == []


def test_only_the_command_line_prints_or_exits() -> None:
    """A library returns or raises; a trainer is a process of its own, so its main may exit."""

    def broken(name: str, path: Path) -> set[str]:
        own = ("hpo.trainer", "hpo.command_trainer", "hpo.gang_trainer", "hpo.fork_server")
        allowed = {"sys.exit", "print"} if name in own else set()
        calls = {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
        return (calls & {"print", "sys.exit", "exit", "quit"}) - allowed

    assert wrong({name: path for name, path in MODULES.items() if not within(name, ["hpo.cli"])}, broken) == []


def test_every_folder_is_a_package_of_the_wheel() -> None:
    """Else a wheel lacks it, which only a test that builds one would see."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(listed) == folders
