"""The commands that `hpo evaluate` gives to go on with, which have to work as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpo.cli.evaluation_tables import _next, _takes_images


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
    assert _next("mine", tmp_path / "reports" / "mine", reference, images=True) == commands


def test_the_winner_is_found_where_out_has_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is said of `hpo predict` where the winner takes no images."""
    monkeypatch.chdir(tmp_path)
    said = _next("mine", tmp_path / "out", "mine", images=False)
    assert said == ["report --study mine", "export --study mine --model out/winner --format onnx"]
    assert not _takes_images(tmp_path)
    for shape, images in ([1, 16, 16], True), ([30], False), ({"a": [3]}, False):
        (tmp_path / "config.json").write_text(json.dumps({"shape": shape}))
        assert _takes_images(tmp_path) == images
