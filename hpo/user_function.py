"""A function of the user's own by its name, imported as `import` would import its file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import HpoError, StudyError, near_miss
from hpo.user_code import line_of, mend_import, named_error
from hpo.wording import shortened

__all__ = ["load_function", "load_named"]


def load_function(reference: str) -> Callable[..., Any]:
    """The function of "module:name" or "/folder/file.py:name". Raises StudyError with the user's line that fails."""
    found = load_named(reference)
    if not callable(found):
        place, _, name = reference.rpartition(":")
        raise StudyError(f"{place} has no function {name}: that is {shortened(repr(found))}")
    return found  # type: ignore[no-any-return]


def load_named(reference: str) -> Any:
    """What "module:name" or "/folder/file.py:name" names. Raises StudyError with the user's line that fails."""
    place, _, name = reference.rpartition(":")
    argv, sys.argv = sys.argv, [place]  # a script that reads its arguments at the top finds none, not the trainer's
    try:
        module = _module(place)
    except HpoError as error:
        evidence = [*error.evidence, *filter(None, [line_of(error)])]
        raise StudyError(f"{place}: {error.fact}", evidence=evidence, next=error.next) from error
    except (Exception, SystemExit) as error:
        raise StudyError(
            f"{place} does not import: {named_error(error)}",
            evidence=[line_of(error)] if line_of(error) else [],
            next=f"{mend_import(error)}, then run it again",
        ) from error
    finally:
        sys.argv = argv
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        functions = [key for key, value in vars(module).items() if inspect.isroutine(value) and key[0] != "_"]
        raise StudyError(f"{place} has no function {name}", evidence=[near_miss(name, functions)])
    return found


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = Path(place)
    spec = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path:
        return importlib.import_module(path.stem)  # so that what it makes can be pickled, for a DataLoader's workers
    name = f"_hpo_own_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
