"""`hpo trials --output`: what stands where the output of a trial should be is shown, or said to be none of hpo's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpo.errors import StudyError
from hpo.results.output import MOST_BYTES, trial_output

COMMAND = {"(command)": "train {lr}"}


def view(*numbers: int, declaration: Any = COMMAND, **attributes: Any) -> Any:
    trials = tuple(SimpleNamespace(number=number, user_attrs=attributes) for number in numbers)
    return SimpleNamespace(name="s", uid="u", declaration=declaration, trials=trials)


def wrong(found: Any, number: int, folder: Path) -> str:
    with pytest.raises(StudyError) as caught:
        trial_output(found, number, folder)
    return str(caught.value)


def test_what_was_printed_is_given_as_text(tmp_path: Path) -> None:
    (tmp_path / "s-u").mkdir()
    (tmp_path / "s-u" / "3.txt").write_bytes(b"epoch 1\n\xff")
    assert trial_output(view(0, 3), 3, tmp_path) == "epoch 1\n\ufffd"


@pytest.mark.parametrize("declaration", [None, {}, {"model": "mlp"}])
def test_a_study_without_a_command_keeps_none(tmp_path: Path, declaration: Any) -> None:
    assert 'study "s" runs no command' in wrong(view(0, declaration=declaration), 0, tmp_path)


def test_a_trial_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    assert "it has trials 0 to 7" in wrong(view(0, 7), 3, tmp_path)
    assert "it has no trial yet" in wrong(view(), 0, tmp_path)


def test_output_that_another_host_has_is_told_with_its_name(tmp_path: Path) -> None:
    assert "next: look on node7, where it is kept" in wrong(view(0, host="node7"), 0, tmp_path)
    assert "next: look on the host that has run it, if one has" in wrong(view(0), 0, tmp_path)


def test_a_file_that_is_none_of_hpos_is_not_shown(tmp_path: Path) -> None:
    """A link, also on the way, which may lead to anything; a file larger than hpo keeps; a folder."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "0.txt").write_text("secret")
    checkpoints = tmp_path / "checkpoints"
    folder = checkpoints / "s-u"
    checkpoints.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert "leads elsewhere by a link" in wrong(view(0), 0, checkpoints)
    folder.unlink()
    folder.mkdir()
    (folder / "0.txt").symlink_to(tmp_path / "elsewhere" / "0.txt")
    (folder / "1.txt").write_bytes(b"x" * (MOST_BYTES + 1))
    (folder / "2.txt").mkdir()
    assert "leads elsewhere by a link" in wrong(view(0), 0, checkpoints)
    assert "larger than" in wrong(view(1), 1, checkpoints)
    assert "the output of trial 2 cannot be read" in wrong(view(2), 2, checkpoints)
