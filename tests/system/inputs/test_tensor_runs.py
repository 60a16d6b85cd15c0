"""Inputs that are no images, from `hpo check` to `hpo export`: the study of docs/examples/data/tokens.py."""

from __future__ import annotations

from pathlib import Path

import pytest

import hpo
from hpo.errors import CodeMismatch, DataError, UsageError
from hpo.evaluation.evaluate import EvaluateOptions, evaluate
from hpo.inference.exporting import export_model
from hpo.inference.model import Trust, load_model
from hpo.inference.predicting import predict
from hpo.reproduction import reproduce
from hpo.settings import Settings
from hpo.study.discovery import find_study
from hpo.testing import check_dataset
from hpo.trainers.estimate import inspect_study

COPIED = ("tokens.py", "token_data.py")


def test_several_inputs_are_searched_reproduced_evaluated_and_exported(place: Path) -> None:
    study, settings = str(place / "tokens.py"), Settings.read()
    assert hpo.run(study, trials=2, trainers=1).counts["complete"] == 2
    assert reproduce(study, 0, storage=None, device=None, settings=settings).same
    found = find_study(study)
    evaluate(study, EvaluateOptions(top=1, seeds=1, out=place / "out", trainers=1), settings)
    saved = load_model(place / "out" / "winner", "sentences", Trust(found.study.model_row.builder, found.sys_path))
    for kind, ending in (("torch-export", "pt2"), ("onnx", "onnx")):
        assert export_model(saved, kind, place / f"m.{ending}").checked == 36
    with pytest.raises(UsageError, match="reads no images"):
        predict(saved, [place / "a.png"])


def test_samples_that_changed_since_the_last_trial_are_refused(place: Path, tmp_path: Path) -> None:
    """The loader's file is the same; what it reads is not."""
    text = (place / "token_data.py").read_text()
    assert "torch.Generator().manual_seed(" in text
    (tmp_path / "seed.txt").write_text("0")
    (tmp_path / "read_data.py").write_text(
        text.replace('{"train": 0, "test": 1}[split]', f'{{"train": int(open({str(tmp_path / "seed.txt")!r}).read())'
                     ', "test": 1}[split]')
    )  # fmt: skip
    study = tmp_path / "study.py"
    study.write_text((place / "tokens.py").read_text().replace("token_data", "read_data").replace("sentences", "read"))
    assert hpo.run(str(study), trials=1, trainers=1).counts["complete"] == 1
    (tmp_path / "seed.txt").write_text("1")
    with pytest.raises(CodeMismatch) as caught:
        hpo.run(str(study), trials=2, trainers=1)
    assert 'study "read" was trained with other data (1 finished trial)' in str(caught.value)
    assert "train split of read_data:load   " in str(caught.value)
    inspection = inspect_study(find_study(str(study)), "cpu")  # both splits are now of one seed
    assert inspection.data["notes"][0].startswith("13 of 150 test samples of read_data:load are also in the train")
    assert {name: len(counts) for name, counts in inspection.data["classes"].items()} == {"blame": 2, "praise": 2}
    assert sum(counts[0] for counts in inspection.data["classes"].values()) == inspection.train_images


def test_a_data_set_of_tensors_keeps_the_contract(place: Path) -> None:
    check_dataset(find_study(str(place / "tokens.py")).study.dataset_row)


def test_nan_in_inputs_is_refused_before_the_first_trial_at_the_loaders_line(place: Path, tmp_path: Path) -> None:
    text = (place / "token_data.py").read_text()
    (tmp_path / "nan_data.py").write_text(
        text.replace("lengths.float()", "lengths.float().where(lengths > 4, torch.nan)")
    )
    (tmp_path / "study.py").write_text((place / "tokens.py").read_text().replace("token_data", "nan_data"))
    with pytest.raises(DataError) as caught:
        inspect_study(find_study(str(tmp_path / "study.py")), "cpu")
    assert "length has NaN or infinity in" in str(caught.value)
    assert f"{tmp_path}/nan_data.py, line 11: def load" in str(caught.value)
