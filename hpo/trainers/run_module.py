"""Run as a file, `run_module.py MODULE ARGUMENTS...`: runs a module of the hpo that this file belongs to.

`python -m hpo.trainer` would need the folder that holds hpo on the import path. In a checkout that folder also holds
`models`, `data` and `studies`, which would hide a user's own packages of these names.
"""

from __future__ import annotations

import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def _load_hpo(folder: Path) -> None:
    """Import the package in `folder` as `hpo`, wherever the import path leads."""
    spec = spec_from_file_location("hpo", folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules["hpo"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["hpo"])


if __name__ == "__main__":
    _load_hpo(Path(__file__).resolve().parents[1])
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
