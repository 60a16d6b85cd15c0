"""Inputs that are no images, from `hpo check` to `hpo export`: the study of docs/examples/data/tokens.py."""

from __future__ import annotations

from pathlib import Path

import pytest

import hpo
from hpo.errors import DataError, UsageError
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
