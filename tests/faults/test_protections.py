"""The table of protections says what the code says. That their tests fail without them, take_out.py shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from protections import PROTECTIONS, Protection

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "failures.md").read_text()


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_a_protection_is_where_the_table_says_and_has_its_test_and_its_row(protection: Protection) -> None:
    """Its code once in its file, other code without it, a test of that name, and its name in docs/failures.md."""
    source = (ROOT / "hpo" / protection.file).read_text()
    assert source.count(protection.code) == 1
    compile(source.replace(protection.code, protection.without), protection.file, "exec")
    path, _, test = protection.test.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / "tests" / path).read_text()
    assert protection.name in DOCUMENT
