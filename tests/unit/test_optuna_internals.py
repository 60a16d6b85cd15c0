"""Optuna's private names are known to one file, its tables to another, so that a new Optuna is met there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import hpo
from hpo.storage.optuna_internals import PRIVATE_NAMES

ROOT = Path(hpo.__file__).parent
THE_FILE = ROOT / "storage" / "optuna_internals.py"
SCHEMA_FILE = ROOT / "storage" / "optuna_schema.py"
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


STORED = re.compile(
    r"^(RUNNING|WAITING|COMPLETE|PRUNED|FAIL|MINIMIZE|MAXIMIZE)$|'(RUNNING|WAITING|COMPLETE|PRUNED|FAIL)'"
    r"|\b(FROM|JOIN|INTO|UPDATE|ON) (trials|studies|study_\w+|trial_\w+)\b|^(trials|studies)\.\w+ ="
    r"|\b(study_directions|(study|trial)_(user|system)_attributes|trial_(params|values|intermediate_values))\b"
    r"|\b(trialstate|trialvaluetype|trialintermediatevaluetype|alembic_version|version_info|fixed_params)\b"
)


def test_only_one_file_spells_optunas_tables_and_the_words_in_them() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value.strip()}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.name != "optuna_schema.py"
        for node in _texts(ast.parse(path.read_text()))
        if STORED.search(node.value)
    ]
    assert found == []
    assert sum(bool(STORED.search(node.value)) for node in _texts(ast.parse(SCHEMA_FILE.read_text()))) > 8


def _texts(tree: ast.Module) -> list[Any]:
    """Every string in a file, f-strings in parts, except docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    ]


def test_the_list_of_private_names_is_whole() -> None:
    """tests/system/storage/test_changed_optuna.py takes away what the list names, so nothing may be missing from it."""
    used: set[str] = set()
    for node in ast.walk(ast.parse(THE_FILE.read_text())):
        if isinstance(node, ast.ImportFrom) and "._" in str(node.module):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and ast.unparse(node.value) != "self":
            used.add(node.attr)
    assert used - {"__file__", "__version__", "parzen_estimator", "sampler"} <= {
        name.rpartition(".")[2] for name in PRIVATE_NAMES
    }
    assert len(used) > 8
