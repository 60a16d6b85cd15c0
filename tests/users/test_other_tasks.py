"""Users with another task than classification, one of their own among them, through every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from sqlalchemy import Engine

import hpo
from hpo.cli.main import run_command

STUDIES = Path(__file__).parent / "other_tasks" / "study.py"


@pytest.mark.parametrize(
    ("task", "metric"),
    [("regression", "rmse"), ("multilabel", "macro_f1"), ("segmentation", "iou"), ("direction", "degrees_off")],
)
def test_a_task_goes_through_every_command(
    task: str, metric: str, engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(STUDIES.parents[2]))  # of the trainers, as this process has it
    name, out = f"{STUDIES}:{task}", tmp_path / "out"
    result = hpo.run(name, trials=2, trainers=1)
    assert {trial.state.name for trial in result.frozen} == {"COMPLETE"}
    recorded = result.frozen[0].user_attrs["metrics"]
    assert result.frozen[0].values == [recorded[metric if task == "direction" else f"val_{metric}"]]
    assert ("val_accuracy" in recorded) == (task == "multilabel")

    capsys.readouterr()
    assert run_command(["reproduce", "--study", name, "--trial", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"]

    evaluate = ["evaluate", "--study", name, "--top", "1", "--seeds", "3", "--trainers", "1", "--out", str(out)]
    assert run_command(evaluate) == 0
    assert f"test_{metric}" in capsys.readouterr().out
    document = json.loads((out / "evaluation.json").read_text())
    assert document["metric"] == f"test_{metric}"
    assert document["direction"] == ("minimize" if task in ("regression", "direction") else "maximize")
    assert document["search_rerun"]["same"]
    for row in document["configurations"]:
        assert row["confusion"] == []
        assert row["score"]["n"] == 3
        assert row["score"]["low"] < row["score"]["mean"] < row["score"]["high"]
    assert ("test_mae" in document["configurations"][0]["metrics"]) == (task == "regression")
    assert document["task"] == task
    assert ("residuals" in document) == (task == "regression")
    assert ("picture" in document) == (task == "segmentation")

    assert run_command(["report", "--study", name, "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"test_{metric} decides" in page
    assert ('class="residuals"' in page) == (task == "regression")
    assert ("Intersection over union of each class" in page) == (task == "segmentation")
    assert ('<figure class="masks">' in page) == (task == "segmentation")  # plotly.js has images in its code

    image = tmp_path / "left.png"
    pixels = torch.zeros(8, 8, dtype=torch.uint8)
    pixels[:, :4] = 230
    Image.fromarray(pixels.numpy()).save(image)
    saved = ["--study", name, "--model", str(out / "winner")]
    capsys.readouterr()
    assert run_command(["predict", *saved, str(image), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["image"] == str(image)
    if task == "direction":
        assert -30 < said["prediction"]["degrees"] < 30  # the left half is bright
        stranger = ["predict", "--study", "direction", "--model", str(out / "winner"), str(image)]
        assert run_command(stranger) == 2
        assert "task_data:said_direction" in capsys.readouterr().err
        assert run_command([*stranger, "--trust"]) == 0
    else:
        key = {"regression": "values", "segmentation": "shares"}.get(task, "probabilities")
        assert set(said[key]) == {"left", "right"}
    if task == "segmentation":
        assert said["mask"] == str(out / "masks" / "left.png")
        with Image.open(said["mask"]) as mask:
            assert mask.size == (8, 8)
            assert mask.getextrema()[1] <= 1
    assert run_command(["predict", *saved, str(image)]) == 0
    assert str(image) in capsys.readouterr().out
    export = ["export", *saved, "--format", "torch-export", "--out", str(tmp_path / "model.pt2")]
    assert run_command(export) == 0


def test_a_saved_model_of_an_unknown_task_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder may come from anybody."""
    from hpo.inference.model import load_model

    folder = tmp_path / "winner"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    about = {"model": "a:b", "parameters": {}, "shape": [1, 8, 8], "classes": ["a"], "mean": [0.0], "std": [1.0]}
    (folder / "config.json").write_text(json.dumps({**about, "task": "telling fortunes"}))
    with pytest.raises(hpo.HpoError, match="unknown task telling fortunes"):
        load_model(folder, "study")
