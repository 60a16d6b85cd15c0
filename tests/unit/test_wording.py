"""How numbers, sizes and seconds read, in every command and in a report."""

from __future__ import annotations

import pytest

from hpo.cli.layout import plain_table
from hpo.cli.output import cell, emit_rich, notice
from hpo.cli.wrapping import WrappedParameters
from hpo.duration import format_short
from hpo.errors import StudyError
from hpo.printable import one_line
from hpo.report import words
from hpo.wording import bytes_text, count_text, difference, params_text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 kB"), (268_900, "268.9 kB"), (4_050_000, "4.05 MB"), (12_300_000_000, "12.30 GB")]
)
def test_sizes_are_in_units_of_a_thousand(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(("count", "text"), [(7, "7"), (61_706, "61.7k"), (2_240_000, "2.24M"), (3e9, "3G")])
def test_counts_have_three_digits(count: int, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(0.003123, "0.00312"), (1e-5, "0.00001"), (1e-6, "1e-06"), (3.5, "3.50000")]
)
def test_a_difference_has_the_decimals_of_scores_unless_nothing_would_be_left(amount: float, text: str) -> None:
    assert difference(amount) == text


def test_a_report_says_seconds_and_differences_as_the_commands_do_with_a_real_minus() -> None:
    assert words.seconds(3.21) == format_short(3.21) == "3.2s"
    assert words.seconds(245.0) == format_short(245.0) == "4m 05s"
    assert words.seconds(None) == "\u2013"
    assert words.difference(-0.003123) == "\u22120.00312"
    assert words.number(-0.5) == "\u22120.50000"


NAME = "a\n\tforged \x1b[2J\u202e\u2028[bold]\ud800"
SPELLED = r"a\n\tforged \u001b[2J\u202e\u2028[bold]\ud800"


def test_a_name_that_somebody_else_chose_is_one_line_wherever_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert one_line(NAME) == SPELLED
    assert one_line(SPELLED) == SPELLED
    assert params_text({NAME: NAME}) == f"{SPELLED} {SPELLED}"
    assert str(StudyError(NAME, evidence=[NAME], next=NAME)) == f"{SPELLED}\n  {SPELLED}\nnext: {SPELLED}"
    notice(NAME)
    assert capsys.readouterr().err == f"{SPELLED}\n"


def test_such_a_name_leaves_a_table_its_rows_and_columns(capsys: pytest.CaptureFixture[str]) -> None:
    table = plain_table("study", "best")
    table.add_row(cell(NAME), "0.5")
    table.add_row("other", "0.25")
    emit_rich(table, WrappedParameters({NAME: NAME, "lr": 0.1}))
    head, _, first, second, params = capsys.readouterr().out.splitlines()
    assert first.startswith(SPELLED)
    assert first.index("0.5") == second.index("0.25") == head.index("best")
    assert params == f"{SPELLED} {SPELLED}  lr 0.1"
