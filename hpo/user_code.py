"""Where in the user's own files an error comes from: one rule for studies, model builders and data loaders."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["calling_line", "definition_of", "described_bug", "frame_of", "line_of", "mend_import", "named_error"]


def frame_of(error: BaseException, *, or_ours: bool = False) -> traceback.FrameSummary | None:
    """The innermost frame of `error` in a file of the user's: not hpo's, not an installed library's, not Python's.

    or_ours: if there is none, the innermost one in a model or data set that comes with hpo
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    theirs = [frame for frame in frames if not frame.filename.startswith(_ours())]
    named = theirs or ([frame for frame in frames if frame.filename.startswith(_ours()[1:])] if or_ours else [])
    return named[-1] if named else None


def line_of(error: BaseException) -> str:
    """`/path/file.py, line 7: the text of the line`, the user's line that `error` comes from; "" if there is none.

    For a file that is not Python it is the line that cannot be parsed.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}" + (f": {error.text.strip()}" if error.text else "")
    frame = frame_of(error)
    return f"{frame.filename}, line {frame.lineno}: {frame.line}" if frame is not None else ""


def named_error(error: BaseException) -> str:
    """`ZeroDivisionError: division by zero`: the type, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def described_bug(error: BaseException) -> str:
    """`ZeroDivisionError: division by zero (cost.py, line 77)`: an error nobody expected, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def calling_line() -> tuple[str, str]:
    """(file, `file, line 7: the text of the line`) of the user's line that called into hpo; ("", "") if there is none.

    In a notebook or at a prompt there is none: only a file has a place on the disk.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_back is not None:
        name = frame.f_code.co_filename
        if not _is_library(name) and not name.startswith(_ours()) and os.path.isfile(name):
            text = linecache.getline(name, frame.f_lineno).strip()
            return name, f"{name}, line {frame.f_lineno}" + (f": {text}" if text else "")
        frame = frame.f_back
    return "", ""


def mend_import(error: BaseException) -> str:
    """The next step for a file that did not import: the package to install and where, or the line to mend."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install {error.name.partition('.')[0]} where hpo is installed ({sys.prefix}), or mend that line"
    return "mend that line"


def definition_of(named: Callable[..., Any]) -> str:
    """`/path/file.py, line 7: def load`, or a class; "" for something not written in a Python file."""
    named = inspect.unwrap(named)
    where = named if isinstance(named, type) or hasattr(named, "__code__") else type(named)
    try:
        line = inspect.getsourcelines(where)[1]
        kind = "class" if isinstance(where, type) else "def"
        return f"{inspect.getsourcefile(where)}, line {line}: {kind} {where.__name__}"
    except (OSError, TypeError):
        return ""


def _is_library(filename: str) -> bool:
    if filename.startswith(_ours()):
        return False
    return filename.startswith(("<", _python())) or not {"site-packages", "dist-packages"}.isdisjoint(
        Path(filename).parts
    )


@cache
def _python() -> str:
    return sysconfig.get_path("stdlib") + os.sep


@cache
def _ours() -> tuple[str, ...]:
    """The folder of hpo, then the folders of its models and data sets."""
    specs = [find_spec(name) for name in ("hpo.models", "hpo.data")]
    folders = [folder for spec in specs if spec for folder in spec.submodule_search_locations or ()]
    return tuple(f"{folder}{os.sep}" for folder in (str(Path(__file__).parent), *folders))
