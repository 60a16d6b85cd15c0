"""A function of the user's own by a name that a trainer, which is another process, can import it by."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import StudyError
from hpo.study.script import read_script
from hpo.wording import shortened

__all__ = ["function_reference", "place_of", "shown_reference"]


def place_of(reference: str) -> str:
    """The module, or the file, that the function stands in."""
    return reference.rpartition(":")[0]


def shown_reference(reference: str) -> str:
    """The reference as every host writes it: without the folder of its file."""
    place, _, name = reference.rpartition(":")
    return f"{Path(place).name if place.endswith('.py') else place}:{name}"


def function_reference(function: str | Callable[..., Any], what: str = "objective", argument: str = "trial") -> str:
    """ "module:name" or "/path/file.py:name" of `function`. StudyError for what no other process can import.

    what, argument: the field that it was given to, and what it takes, for the error
    """
    if isinstance(function, str):
        place, colon, name = function.rpartition(":")
        if not colon or not place or not all(part.isidentifier() for part in name.split(".")):
            raise StudyError(f'{what} "{function}" is not of the form module:name or path/to/file.py:name')
        return f"{Path(place).expanduser().resolve()}:{name}" if place.endswith(".py") else function
    name = getattr(function, "__qualname__", "")
    owner = getattr(function, "__self__", None)
    if not name or (owner is not None and not isinstance(owner, type | ModuleType)):
        kind = f"a method of an object, {shortened(repr(owner))}" if name else shortened(repr(function))
        raise StudyError(
            f"the {what} is {kind}, which a trainer, another process, cannot import by name",
            next=f"define `def {what}({argument}): ...` at the top of a file, which makes it and calls it",
        )
    if "<" in name:
        kind = "a lambda" if "<lambda>" in name else f"defined inside another function ({name})"
        raise StudyError(
            f"the {what} is {kind}: a trainer, which is another process, cannot import it",
            next=f"move it to the top of its file: def {what}({argument}): ...",
        )
    module = function.__module__
    if module != "__main__" and _is_importable(module):
        return f"{module}:{name}"
    script = getattr(sys.modules["__main__"], "__file__", None) if module == "__main__" else None
    if script is not None and (text := read_script(Path(script))) is not None:
        text.check()
    file = _file_of(function, module)
    if file is None:
        raise StudyError(
            f"{name} is defined in a notebook or at a prompt: a trainer, which is another process, cannot import it",
            next=f"write the cell to a file: begin it with %%writefile {what}.py, then "
            + (f'hpo.run("{what}.py:{name}", direction=...)' if what == "objective" else f'{what}="{what}.py:{name}"'),
        )
    return f"{file}:{name}"


def _is_importable(module: str) -> bool:
    """False for the name that a study's file has while hpo reads it, which is no name in a trainer."""
    try:
        return importlib.util.find_spec(module) is not None and not module.startswith("_hpo_")
    except (ImportError, ValueError):
        return False


def _file_of(function: Callable[..., Any], module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    if not Path(file).is_file() and module == "__main__":
        return None  # a cell: its source is a name that IPython made up
    try:
        source = Path(inspect.getsourcefile(function) or file)
    except TypeError:
        return None
    return source.resolve() if source.is_file() else None
