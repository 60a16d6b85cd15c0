"""The last lines of a run: commands to paste, and what the percentages of `mattered` are of."""

from __future__ import annotations

from hpo.cli.answer_lines import mattered_lines
from hpo.cli.summary import next_commands
from hpo.insight import Insight
from tests.unit.cli.test_display import insight


def test_a_run_that_pruned_names_the_command_that_says_why() -> None:
    commands = next_commands("my photos", None, "photos.py", finished=True, pruned=12)
    assert [command.partition("hpo ")[2] for command in commands][3:5] == [
        "trials --study 'my photos'",
        "trials --study 'my photos' --why 12",
    ]
    assert not any("--why" in command for command in next_commands("photos", None, "photos.py", finished=True))


def test_the_first_percentage_says_of_what_it_is() -> None:
    found: Insight = insight()
    whole, short = (list(mattered_lines(found, whole=whole)) for whole in (True, False))
    assert short[0].startswith("x ")
    assert whole[0] == short[0].replace("x ", "x explains ").replace(": ", " of how the trials rank; the best are ")
    assert not any("trials rank" in line for line in whole[1:])
