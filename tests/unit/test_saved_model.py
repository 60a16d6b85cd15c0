"""A saved model whose builder is not hpo's: what goes wrong in it is told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpo.cli.saved_model import _which
from hpo.errors import HpoError
from hpo.inference.model import Trust, load_model

ABOUT = {"parameters": {}, "shape": [1, 8, 8], "classes": ["a"], "mean": [0.0], "std": [1.0]}


def saved(folder: Path, builder: str) -> Path:
    (folder / "config.json").write_text(json.dumps({**ABOUT, "model": builder, "sys_path": [str(folder)]}))
    (folder / "model.safetensors").touch()
    return folder


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("nn.Lineer(3, 2)", "does not build the network of {folder}: NameError: name 'nn' is not defined"),
        ("[][0]", "does not build the network of {folder}: IndexError: list index out of range"),
        ("int('')", "ValueError: invalid literal"),
        ("(_ for _ in ()).throw(KeyError)", "does not build the network of {folder}: KeyError\n"),
        ("shape", "returned tuple, not a torch.nn.Module"),
    ],
)
def test_an_error_of_a_trusted_builder_names_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    monkeypatch.setattr("sys.path", ["", str(tmp_path)])
    name = f"foreign_{tmp_path.name}"
    path = tmp_path / f"{name}.py"
    path.write_text(f"def build(shape, classes):\n    return {body}\n")
    with pytest.raises(HpoError) as caught:
        load_model(saved(tmp_path, f"{name}:build"), "s", Trust(anything=True))
    assert told.format(folder=tmp_path) in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_line_of_an_error_is_empty(tmp_path: Path) -> None:
    """Nobody can say where a builtin is written."""
    with pytest.raises(HpoError) as caught:
        load_model(saved(tmp_path, "os:getpid"), "s", Trust(anything=True))
    assert all(line.strip() for line in str(caught.value).splitlines()), str(caught.value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("trial 38", "trial 38"),
        ("trial 0 (baseline)", "trial 0 (baseline)"),
        ("baseline (trial 0)", "baseline (trial 0)"),  # it was "baseline (trial 0) (trial 0)"
        ("known 1", "known 1 (trial {trial})"),
        ("trial 3801", "trial 3801 (trial {trial})"),
    ],
)
def test_a_winner_is_named_with_its_trial_once(name: str, shown: str) -> None:
    trial = 38 if "38" in name else 0
    saved_model = SimpleNamespace(about={"name": name, "trial": trial})
    assert _which(saved_model) == shown.format(trial=trial)  # type: ignore[arg-type]
