"""hpo brings packages called `models`, `data` and `studies`; folders of these names are common, and hide ours."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["OURS", "check_packages", "clash"]

OURS = ("models", "data", "studies")
_ROOT = Path(__file__).resolve().parents[1]


def check_packages() -> None:
    """ImportError where Python would give, or has given, another package under one of our names."""
    for name in OURS:
        found = _origin(name)
        if found is not None and found != _ROOT / name / "__init__.py":
            raise ImportError(
                f"`{name}` is a package that hpo brings, and another one is found first\n"
                f"  {found}\n"
                "next: rename it, or start hpo from a folder without it (`hpo ...` rather than `python -m hpo`)"
            )


def clash(folder: Path) -> str:
    """The name in `folder` that a study there cannot import, because it is one of ours; empty if there is none."""
    taken = (path for name in OURS for path in (folder / f"{name}.py", folder / name / "__init__.py"))
    return next((str(path) for path in taken if path.is_file() and not path.is_relative_to(_ROOT)), "")


def _origin(name: str) -> Path | None:
    """The file that `import name` runs; None for a folder without one, which hides nothing."""
    try:
        loaded = sys.modules.get(name)
        origin = getattr(loaded, "__file__", None) if loaded is not None else getattr(find_spec(name), "origin", None)
    except ValueError:  # a module without a spec
        return None
    return Path(origin).resolve() if origin else None
