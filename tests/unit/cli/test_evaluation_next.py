"""The commands that `hpo evaluate` gives to go on with, which have to work as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.cli.evaluation_tables import _next


@pytest.mark.parametrize(
    ("reference", "commands"),
    [
        (
            "mine",
            ["report --study mine", "export --study mine --format onnx", "predict --study mine image.png"],
        ),
        (
            "./my study.py",
            [
                "report --study mine",
                "export --study './my study.py' --model reports/mine/winner --format onnx",
                "predict --study './my study.py' --model reports/mine/winner image.png",
            ],
        ),
    ],
)
def test_a_study_of_ones_own_is_named_by_its_file(
    reference: str, commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hpo builds its model with no code that only the winner's folder names."""
    monkeypatch.chdir(tmp_path)
    assert _next("mine", tmp_path / "reports" / "mine", reference) == commands
