"""Optuna's private names are known to one file only, so that a new Optuna is met in one place."""

from __future__ import annotations

import re
from pathlib import Path

import hpo

ROOT = Path(hpo.__file__).parent
THE_FILE = ROOT / "storage" / "optuna_internals.py"
PRIVATE = re.compile(
    r"optuna[a-z_.]*\._[a-z]"  # a private module
    r"|from optuna[a-z_.]* import .*\b_[a-zA-Z]"  # a private name
    r"|(?<!self)(?<!cls)\._(trial_id|params|distributions|values|user_attrs|system_attrs|storage|study_id|get_trials)\b"
)


def test_only_one_file_knows_private_names_of_optuna() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted(ROOT.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path != THE_FILE and PRIVATE.search(line)
    ]
    assert found == []
    assert PRIVATE.search(THE_FILE.read_text())
