"""The winner in use: predicted with, exported, and refused where something is missing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluated_study import Evaluated
from numerics import EPS, accuracies, assert_as_exact, twin
from PIL import Image
from torch import Tensor

from hpo.cli.main import run_command
from hpo.data.digits import load
from hpo.data.files import Folders
from hpo.errors import HpoError, UsageError
from hpo.inference import exporting
from hpo.inference.exporting import INPUTS, export_model
from hpo.inference.model import SavedModel, load_model
from hpo.inference.predicting import predict, read_image
from hpo.results.reading import open_for_reading, read_study
from hpo.settings import Settings


@pytest.fixture(scope="module")
def model(evaluated: Evaluated) -> SavedModel:
    return load_model(evaluated.folder / "winner", "quick")


def test_the_saved_model_scores_what_the_evaluation_recorded(
    evaluated: Evaluated, model: SavedModel, tmp_path: Path
) -> None:
    """On the test split, as raw uint8 images, it has exactly the accuracy of its run, ties of two classes aside."""
    test = load("test", Folders(None, tmp_path))
    with torch.inference_mode():
        least, most = accuracies(model.classifier(test.images), test.labels)
    assert least <= model.about["metrics"]["test_accuracy"] <= most
    assert most - least < 0.01


def assert_answers(model: SavedModel, images: Tensor, logits: Tensor) -> float:
    """`logits` are as near to the exact ones as the model's; the largest difference between the two."""
    wide = images if images.dtype == torch.uint8 else images.double()
    with torch.inference_mode():
        torchs, exact = model.classifier(images), twin(model.classifier, torch.float64)(wide)
    assert_as_exact({"logits": logits}, [{"logits": torchs}], {"logits": exact})
    return float((torchs - logits).abs().max())


@pytest.mark.parametrize("input_type", ["float32", "uint8"])
def test_onnx_runtime_gives_the_same_answers(model: SavedModel, tmp_path: Path, input_type: str) -> None:
    """A file that onnxruntime loads, for any number of images, normalisation included."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime onnxscript")
    pytest.importorskip("onnxscript", reason="pip install onnx onnxruntime onnxscript")
    done = export_model(model, "onnx", tmp_path / "sub" / "m.onnx", input_type=input_type)
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    differences = []
    for images in (
        exporting._images(model, size, INPUTS[input_type]) for size in (1, 3, 32)
    ):  # what the exporter has compared
        logits = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        differences.append(assert_answers(model, images, logits))
    assert done.max_difference == max(differences)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list("0123456789")


def test_torch_export_gives_the_same_answers(model: SavedModel, tmp_path: Path) -> None:
    """A .pt2 file that torch loads without any code of ours."""
    done = export_model(model, "torch-export", tmp_path / "m.pt2")
    images = torch.rand(7, *model.shape, generator=torch.Generator().manual_seed(0))
    with done.path.open("rb") as file, torch.inference_mode():
        assert_answers(model, images, torch.export.load(file).module()(images))


def test_an_unknown_format_is_refused(model: SavedModel, tmp_path: Path) -> None:
    """The formats there are stand in the error."""
    with pytest.raises(UsageError, match="onnx"):
        export_model(model, "onxx", tmp_path / "m")


def test_a_missing_package_is_named(model: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxruntime the error names it and what to install."""
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    with pytest.raises(UsageError, match=r"onnxruntime\n.*pip install onnx onnxruntime"):
        export_model(model, "onnx", tmp_path / "m.onnx")


def test_images_of_every_kind_are_read(model: SavedModel, tmp_path: Path) -> None:
    """Grey, colour, palette and transparent files of one picture give the same pixels and the same prediction."""
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    paths = [tmp_path / f"{mode}.png" for mode in ("L", "RGB", "RGBA")]
    for path in paths:
        grey.convert(path.stem).save(path)
    images = [read_image(path, model.shape, resize=False) for path in paths]
    assert all(torch.equal(image, images[0]) for image in images)
    found = predict(model, paths)
    assert found[0].probability == max(found[0].probabilities.values())
    assert sum(found[0].probabilities.values()) == pytest.approx(1.0, abs=10 * EPS)  # an eps for each class
    assert read_image(paths[0], (3, 8, 8), resize=False).shape == (3, 8, 8)


def test_images_that_do_not_fit_are_refused(model: SavedModel, tmp_path: Path) -> None:
    """Another size, 16 bits, no image and no file are each one clear error; --resize takes the first."""
    large = tmp_path / "large.png"
    Image.new("L", (28, 20)).save(large)
    with pytest.raises(UsageError, match="28 x 20 pixels, and the model reads 8 x 8"):
        predict(model, [large])
    assert len(predict(model, [large], resize=True)) == 1
    deep = tmp_path / "deep.png"
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(deep)
    with pytest.raises(UsageError, match="8 bits"):
        predict(model, [deep])
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(UsageError, match="not an image"):
        predict(model, [tmp_path / "text.png"])
    with pytest.raises(UsageError, match="no such image"):
        predict(model, [tmp_path / "none.png"])


def test_export_says_which_configuration_it_writes(
    home: Settings, evaluated: Evaluated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name, its score, and torch.export where no format is named; `hpo best` says the evaluation's verdict."""
    winner = evaluated.evaluation.document["winner"]
    model, out = str(evaluated.folder / "winner"), str(tmp_path / "m.pt2")
    assert run_command(["export", "--study", "quick", "--model", model, "--out", out]) == 0
    said = capsys.readouterr().out
    assert said.startswith(winner)
    assert "the winner of `hpo evaluate`" in said
    assert Path(out).is_file()
    assert run_command(["best", "--study", "quick"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    engine = open_for_reading(None, home)
    stored = read_study(engine, "quick", history=True).evaluation  # another test may have evaluated it again
    engine.dispose()
    assert stored is not None
    assert f"verdict {stored['verdict']['sentence']}" in said


PLANTED = """open({boom!r}, "w")
from hpo.models.mlp import shallow as build
"""
STUDY = """from dataclasses import replace
from hpo.models import MODELS
from quick import study
study = replace(study, model=replace(MODELS["shallow"], builder="planted_model:build"))
"""


def test_a_folder_runs_no_code_that_it_names_itself(
    evaluated: Evaluated, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with the name, run with --trust and a line that says so, and with a study's file that names it."""
    folder, code, boom = tmp_path / "winner", tmp_path / "code", tmp_path / "boom"
    shutil.copytree(evaluated.folder / "winner", folder)
    code.mkdir()
    (code / "planted_model.py").write_text(PLANTED.format(boom=str(boom)))
    (code / "planted_study.py").write_text(STUDY)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # for quick.py
    config = json.loads((folder / "config.json").read_text())
    image = tmp_path / "image.png"
    Image.new("L", (8, 8)).save(image)

    def predicted(
        *arguments: str, study: str = "quick", command: str = "predict", **changes: object
    ) -> tuple[int, str]:
        (folder / "config.json").write_text(json.dumps(config | changes))
        images = [str(image)] if command == "predict" else []
        ended = run_command([command, "--study", study, "--model", str(folder), *images, *arguments])
        return ended, capsys.readouterr().err

    planted = {"model": "planted_model:build", "sys_path": [str(code)]}
    for builder in ("planted_model:build", "subprocess:Popen", "os:system", "hpo.models.mlp:__import__"):
        for command in ("predict", "export"):
            ended, said = predicted(command=command, **planted | {"model": builder})
            assert (ended, f"built by code that does not come with hpo: {builder}" in said) == (2, True), said
    assert str(code) not in sys.path
    assert not boom.exists()
    ended, said = predicted(model=str(config["model"]).removeprefix("hpo."))  # as an earlier hpo saved it
    assert ended == 2
    assert f'write "model": "{config["model"]}" in {folder / "config.json"}' in said
    ended, said = predicted("--trust", **planted)
    assert ended == 0
    assert f"runs planted_model:build, found from {code}" in said
    assert boom.exists(), "the module does nothing, so this test shows nothing"
    assert predicted(study=str(code / "planted_study.py"), **planted) == (0, "")


@pytest.mark.parametrize(
    "change",
    [
        {"model": 3}, {"parameters": []}, {"parameters": {"hidden_units": "x"}}, {"parameters": {"hidden_units": -1}},
        {"shape": "abc"}, {"shape": [1, 8]}, {"classes": {}}, {"mean": [None]}, {"sys_path": "abc"}, {"config": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_description_of_other_types_is_one_clear_error(
    evaluated: Evaluated, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = tmp_path / "winner"
    shutil.copytree(evaluated.folder / "winner", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(HpoError):
        load_model(folder, "quick")


def test_a_description_that_is_nested_without_end_is_one_clear_error(evaluated: Evaluated, tmp_path: Path) -> None:
    shutil.copytree(evaluated.folder / "winner", tmp_path / "winner")
    (tmp_path / "winner" / "config.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="does not hold a model"):
        load_model(tmp_path / "winner", "quick")


def test_a_folder_without_a_model_says_how_to_get_one(evaluated: Evaluated, tmp_path: Path) -> None:
    """Missing files, weights of another network and torn files are each a clear error."""
    with pytest.raises(UsageError, match="hpo evaluate --study quick"):
        load_model(tmp_path, "quick")
    winner = tmp_path / "winner"
    shutil.copytree(evaluated.folder / "winner", winner)
    config = json.loads((winner / "config.json").read_text())
    config["parameters"]["hidden_units"] += 1
    (winner / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="can be loaded"):
        load_model(winner, "quick")
    (winner / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="can be loaded"):
        load_model(winner, "quick")
