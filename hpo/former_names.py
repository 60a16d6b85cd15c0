"""What to write in place of `models`, `data` and `studies` of earlier versions: hpo.models, hpo.data, hpo.studies."""

from __future__ import annotations

import traceback
from importlib.util import find_spec
from types import ModuleType

__all__ = ["former_name", "line_instead"]

_FORMER = ("models", "data", "studies")


def former_name(module: str) -> str:
    """`hpo.models.mlp` for `models.mlp`, as earlier versions imported it; "" for a name that was never hpo's."""
    now = f"hpo.{module}"
    try:
        known = module.partition(".")[0] in _FORMER and find_spec(now) is not None
    except ModuleNotFoundError:
        return ""
    return now if known else ""


def line_instead(error: BaseException) -> str:
    """What to write instead of the line that raised `error`, if it looks for hpo's own under a former name; else ""."""
    module = error.name if isinstance(error, ImportError) else None
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        module = error.obj.__name__
    now = former_name(module or "")
    if not now:
        return ""
    lines = [frame.line or "" for frame in traceback.extract_tb(error.__traceback__)]
    imports = [line for line in lines if line.startswith(f"from {module}")]
    new = f"from hpo.{imports[-1].removeprefix('from ')}" if imports else f"from {now} import ..."
    return f"for hpo's own {module}, write `{new}`"
