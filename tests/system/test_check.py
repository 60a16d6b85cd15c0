"""`hpo check`, and the part of it that `hpo run` does before the first trial."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import hpo
from hpo import AtMost, Categorical, Float, Int, NoPruner, Study
from hpo.data.files import Folders
from hpo.errors import DataError, StudyError
from hpo.messages import Inspected
from hpo.models import Model, Reads
from hpo.study.discovery import FoundStudy, find_study
from hpo.trainers.estimate import inspect_study, notes
from hpo.trainers.preflight import configurations, request
from hpo.training import preflight as trained
from hpo.training.train_val_split import DataCache

NETS = """
import torch
from torch import nn


def build(shape, classes, kind, depth):
    layers = [nn.Flatten()]
    if kind == "wide":
        layers.append(nn.Linear(shape[1] * shape[2], 512 // (depth - 3)))
    if kind == "other":
        return nn.Sequential(*layers, nn.Linear(64, classes + 1))
    if kind == "forward":
        return nn.Sequential(*layers, nn.Linear(63, classes))
    return nn.Sequential(*layers, nn.Linear(layers[-1].out_features if len(layers) > 1 else 64, classes))
"""


def branched(tmp_path: Path, *kinds: str, depth: Any = 3) -> FoundStudy:
    """A study of digits whose model is written into `tmp_path`: "plain" works, "wide" does not with depth 3."""
    (tmp_path / "branched_nets.py").write_text(NETS)
    model = Model("branched_nets:build", {"kind": Reads(str, choices=("plain", "wide", "other", "forward")),
                                          "depth": Reads(int, low=1)})  # fmt: skip
    study = Study(
        name="branched",
        dataset="digits",
        model=model,
        space={"kind": Categorical("plain", *kinds), "depth": depth, "batch_size": 64, "lr": Float(1e-3, 1e-1)},
        baseline={"kind": "plain", "lr": 1e-2} | ({} if isinstance(depth, int) else {"depth": 4}),
        pruner=NoPruner(),
        epochs=2,
    )
    return FoundStudy(study, tmp_path / "study.py", (str(tmp_path),))


@pytest.fixture
def inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FoundStudy], Inspected]:
    """What a trainer answers to `hpo check`, by the same function in this process: torch is loaded already."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def ask(found: FoundStudy) -> Inspected:
        place = Path(os.environ.get("HPO_DATA_DIR", tmp_path / "home" / "data"))
        folders = Folders(place, tmp_path / "home" / "cache")
        sys.modules.pop("branched_nets", None)
        cpu = torch.device("cpu")
        return trained.inspect_study(request(found, rehearse=True), DataCache(folders, cpu), cpu)

    return ask


def problem(answer: Inspected, kind: type[Exception]) -> str:
    """Fact and evidence of what an inspection found."""
    assert answer.problem is not None
    assert answer.problem["kind"] == kind.__name__
    return "\n".join([answer.problem["fact"], *answer.problem["evidence"]])


@pytest.mark.parametrize(
    ("kind", "messages"),
    [
        ("wide", ["ZeroDivisionError", "kind=wide, depth=3", "branched_nets.py, line 9", "512 // (depth - 3)"]),
        ("other", ["gives [2, 11] for two images of 10 classes", "kind=other"]),
        ("forward", ["RuntimeError", "kind=forward", "branched_nets.py, line 6: def build", "in its module 1: Linear"]),
    ],
)
def test_one_broken_branch_refuses_the_study(
    kind: str, messages: list[str], tmp_path: Path, inspected: Callable[[FoundStudy], Inspected]
) -> None:
    """The branch and the line are named."""
    said = problem(inspected(branched(tmp_path, kind)), StudyError)
    assert all(message in said for message in messages), said


def test_an_end_of_a_range_counts_as_a_branch(tmp_path: Path, inspected: Callable[[FoundStudy], Inspected]) -> None:
    """depth 4 is fine, depth 3 is not."""
    assert "ZeroDivisionError" in problem(inspected(branched(tmp_path, "wide", depth=Int(3, 4))), StudyError)
    answer = inspected(branched(tmp_path, "wide", depth=Int(4, 5)))
    assert (answer.problem, len(answer.costs)) == (None, 4)


def test_a_run_refuses_it_before_there_is_a_study(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once mended, the same name can start: nothing was left behind."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    with pytest.raises(StudyError, match="ZeroDivisionError"):
        hpo.run(branched(tmp_path, "wide"), trials=1, storage=database_url, trainers=1)
    assert not optuna.get_all_study_names(database_url.replace("postgresql://", "postgresql+psycopg2://"))
    assert hpo.run(branched(tmp_path, "wide", depth=4), trials=1, storage=database_url, trainers=1).counts["complete"]


def test_every_choice_and_every_end_is_built_once(tmp_path: Path) -> None:
    """Rows that neither the network nor the batch depends on add nothing."""
    kinds = [config["kind"] for config in configurations(branched(tmp_path, "wide", "other", "forward"))]
    assert sorted(kinds) == ["forward", "other", "plain", "wide"]
    compact = find_study("squeezenet_cifar10_compact")
    assert {config["bypass"] for config in configurations(compact)} == {"none", "simple"}


def test_what_it_costs(tmp_path: Path) -> None:
    """The dearest has the most parameters; a trial is its epochs and folds, or the time it may take."""
    found = find_study("mlp_digits")
    inspection = inspect_study(found, "cpu")
    least, most = inspection.estimates
    assert least.parameters < most.parameters
    assert (least.config["layers"], most.config["layers"]) == (1, 4)
    assert inspection.train_images == 1150
    assert most.trial_seconds == pytest.approx(20 * most.epoch_seconds)
    assert most.peak_memory_bytes > 50e6
    fewest, many = inspection.trials_within(100.01 * most.trial_seconds, slots=2)  # rounds down
    assert min(fewest, many) <= 200 <= max(fewest, many)


def test_missing_and_altered_images_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inspected: Callable[[FoundStudy], Inspected]
) -> None:
    """The checksum is named."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(b"not a batch")
    monkeypatch.setenv("HPO_DATA_DIR", str(tmp_path))
    said = problem(inspected(find_study("squeezenet_cifar10")), DataError)
    assert "c99cafc152244af753f735de768cd75f" in said


def test_pretrained_weights_that_are_not_there_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else, with the file and the folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "mobilenet_v3_small-047dcff4.pth").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"mobilenet_v3_small-047dcff4\.pth cannot be read") as caught:
        inspect_study(find_study("mobilenet_v3_cifar10_finetune"), "cpu")
    assert str(folder) in str(caught.value)


def test_channels_that_round_to_none_are_refused(inspected: Callable[[FoundStudy], Inspected]) -> None:
    """A ratio within its bounds."""
    found = find_study("squeezenet_cifar10")
    tiny = replace(found.study, space={**found.study.rows.rows, "squeeze_ratio": Float(0.001, 0.5)})
    assert re.search(
        r"0 squeezed(.|\n)*squeeze_ratio=0.001", problem(inspected(replace(found, study=tiny)), StudyError)
    )


def test_notes_say_what_surprises() -> None:
    """Two objectives are pruned on the first; a time limit ends as complete; a late baseline constrains nothing."""
    (compact,) = notes(find_study("squeezenet_cifar10_compact").study)
    assert "prunes this one on its first, val_accuracy" in compact
    (timed,) = notes(find_study("mobilenet_v1_cifar10").study)
    assert "3600 s" in timed
    study = find_study("mlp_digits").study
    late = replace(study, constraints=(AtMost("val_loss", times_baseline=1.0),), folds=3)
    assert [note.split()[0] for note in notes(late)] == ["each", "val_loss"]


def test_the_estimates_are_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs: the same facts, trials within a time among them."""
    from hpo.cli.main import run_command

    assert run_command(["check", "--study", "mlp_digits", "--timeout", "10m", "--subset", "200", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["train_images"] == 160
    assert facts["trials_within"][0] >= 1
    assert Path(facts["sample"]["png"]).name == "mlp_digits.png"
    assert Path(facts["sample"]["png"]).is_file()


def test_an_objective_is_imported_and_its_command_has_the_direction_of_its_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hpo.cli.main import run_command

    file = tmp_path / "own_script.py"
    text = "import optuna\ndef objective(trial): raise SystemError('it was called')\n"
    file.write_text(text + "def main(): optuna.create_study(directions=['minimize', 'maximize']).optimize(objective)\n")
    assert run_command(["check", "--study", f"{file}:objective"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "own_script.py:objective can be imported, and takes a trial" in said
    assert said.endswith(f"hpo run --study {file}:objective --directions minimize,maximize --timeout 10m")
    file.write_text("import optuna\ndef objective(): ...\n")
    assert run_command(["check", "--study", f"{file}:objective"]) == 2
    assert "objective cannot be called with a trial: too many positional arguments" in capsys.readouterr().err
