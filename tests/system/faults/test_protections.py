"""The table of protections says what the code says. That their tests fail without them, take_out.py shows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from altered_code import altered, find
from protections import PROTECTIONS, Protection

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = (ROOT / "docs" / "failures.md").read_text()


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_a_protection_is_where_the_table_says_and_has_its_test_and_its_row(protection: Protection) -> None:
    """Its code once in its function, other code without it, a test of that name, and its row in docs/failures.md."""
    source = (ROOT / "hpo" / protection.file).read_text()
    without = altered(source, protection.function, protection.code, protection.without)
    compile(without, protection.file, "exec")
    assert without != ast.unparse(ast.parse(source))
    path, _, test = protection.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / "tests" / path).read_text()
    assert f"| {protection.name} | {protection.file}, `{protection.function}` |" in DOCUMENT


def test_what_happens_and_what_protects_from_it_have_one_row_each() -> None:
    rows = [line.split(" | ")[0] for line in DOCUMENT.splitlines() if line.startswith("| ")]
    assert [row for row in rows if rows.count(row) > 1] == []


CODE = """
LIMITS = (1, 2)

class Loop:
    def turn(self):
        def inner():
            tell("a", 1)
        if self.waits and (
            self.busy  # a comment
        ):
            tell('a', 1)
        return inner
"""


def test_code_is_found_whatever_its_layout() -> None:
    """Quotes, brackets, line breaks and comments do not matter, and `...` stands for any expression."""
    assert "if False:" in altered(CODE, "Loop.turn", "self.waits and self.busy", "False")
    assert "return\n" in altered(CODE, "Loop.turn.inner", "tell(..., 1)", "return") + "\n"
    assert "LIMITS = ()" in altered(CODE, "LIMITS", "(1,2)", "()")


@pytest.mark.parametrize(
    ("name", "code"),
    [("Loop.turn", "tell('a', 1)"), ("Loop.turn.inner", "self.waits"), ("Loop.gone", "self.waits"), ("GONE", "1")],
    ids=["twice", "elsewhere", "no such function", "no such constant"],
)
def test_code_that_is_not_there_exactly_once_is_refused(name: str, code: str) -> None:
    with pytest.raises(LookupError):
        altered(CODE, name, code, "None")


def test_a_name_is_of_a_function_a_class_or_a_constant() -> None:
    tree = ast.parse(CODE)
    assert isinstance(find(tree, "Loop"), ast.ClassDef)
    assert isinstance(find(tree, "Loop.turn.inner"), ast.FunctionDef)
    assert isinstance(find(tree, "LIMITS"), ast.Assign)
