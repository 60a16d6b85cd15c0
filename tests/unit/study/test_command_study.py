"""A study whose training is a command: what is executed for which values, and what is refused before anything is."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hpo import Categorical, Command, Float, Grid, Int, Study
from hpo.commands.values import Values, pattern_records
from hpo.errors import StudyError
from hpo.study.command import placeholders
from hpo.study.discovery import find_study
from hpo.study.objective import Objective

SPACE = {"lr": Float(1e-5, 1e-1, log=True), "epochs": 5}


def sweep(command: Any = "train --lr {lr} --epochs {epochs}", **fields: Any) -> Study:
    given = {"space": SPACE, "objective": "val_loss", "direction": "minimize", "baseline": {"lr": 1e-3}, **fields}
    return Study(name="sweep", command=command, **given)


@pytest.mark.parametrize(
    ("words", "values", "executed"),
    [
        ("train --lr {lr}", {"lr": 1e-05}, ["train", "--lr", "1e-05"]),
        ("train '--name={a} {b}'", {"a": "x y", "b": 2}, ["train", "--name=x y 2"]),
        ("train {a}", {"a": "; rm -rf $(HOME) 'x\""}, ["train", "; rm -rf $(HOME) 'x\""]),
        (["train", "{a}"], {"a": ""}, ["train", ""]),
        ("train {flag}", {"flag": True}, ["train", "True"]),
        ("train '{{\"lr\": {lr}}}'", {"lr": 0.1}, ["train", '{"lr": 0.1}']),
        ("train --units {units}", {"units": [8, 16]}, ["train", "--units", "8", "16"]),
        ("train --units={units}", {"units": [8, 16]}, ["train", "--units=8,16"]),
        ("train --momentum {momentum} last", {"momentum": None}, ["train", "last"]),
        ("train --momentum={momentum} last", {}, ["train", "last"]),
        ("train {momentum} last", {}, ["train", "last"]),
        ("train --a {b} {momentum}", {"b": 1}, ["train", "--a", "1"]),
        ("train --a={b} {momentum} last", {"b": 1}, ["train", "--a=1", "last"]),
        ("-train {momentum} last", {}, ["-train", "last"]),
    ],
)
def test_a_value_fills_its_place_and_adds_no_word(words: Any, values: Any, executed: list[str]) -> None:
    assert Command(words).argv(values) == executed


def test_a_shell_gets_values_as_words_of_its_own() -> None:
    values = {"a": "x; echo hacked", "units": ["1", "$HOME"], "n": -1}
    command = Command("printf '%s|' {a} {units} --u={units} {n} ${{HOME}}", shell=True)
    program, option, text = command.argv(values)
    assert (program, option) == ("/bin/sh", "-c")
    assert text == command.line(values)
    assert shlex.split(text)[2:] == ["x; echo hacked", "1", "$HOME", "--u=1,$HOME", "-1", "${HOME}"]
    assert text.endswith("""'x; echo hacked' 1 '$HOME' --u='1,$HOME' -1 ${HOME}""")


def test_a_list_is_words_in_a_shell_where_it_stands_alone() -> None:
    values = {"units": [8, 16], "n": 7}
    for text, filled in (
        ("{units} x", "8 16 x"),
        ("x {n}{units}", "x 78,16"),
        ("x {units}{n}", "x 8,167"),
        ("x {units}", "x 8 16"),
        ("for u in {units}; do ({units})|x; done", "for u in 8 16; do (8 16)|x; done"),
    ):
        assert Command(text, shell=True).line(values) == filled


@pytest.mark.parametrize("text", [r"echo '\'{lr}", r"echo \'{lr}", r"echo \\{lr}", r"echo \${lr}", "echo ${{lr}} {lr}"])
def test_marks_that_are_over_or_mean_nothing_leave_a_value_quoted(text: str) -> None:
    sweep(Command(text + " {epochs}", shell=True))


def test_the_line_to_repeat_a_trial_is_quoted_for_a_terminal() -> None:
    command = Command(["train", "--params", "{params}", "--dir", "{checkpoint_dir}", "{number}", "{seed}"])
    line = command.line(placeholders({"a": "x y"}, 3, 7, "/c/3"))
    assert line == """train --params '{"a": "x y"}' --dir /c/3 3 7"""


@pytest.mark.parametrize(
    ("command", "fields", "wrong"),
    [
        ("train --lr {lr}", {}, 'nothing in the command reads "epochs"'),
        ("train {lr} {epochs} {epoch}", {}, "names {epoch}, which is no row"),
        ("train {lr} {epochs} {", {}, "Single '{'|expected '}'"),
        ("train {lr:.3f} {epochs}", {}, "{lr:.3f} in the command is no placeholder"),
        ("train {0} {lr} {epochs}", {}, "{0} in the command is no placeholder"),
        ("train {lr!r} {epochs}", {}, "{lr!r} in the command is no placeholder"),
        (["", "{lr}", "{epochs}"], {}, "the command is empty"),
        ("train {lr} 'x", {}, "cannot be split into words"),
        ("", {}, "the command is empty"),
        (["train", 3], {}, "neither text nor a list of words"),
        (["train", "a\0b"], {}, "a zero byte"),
        (Command("echo '{lr}' {epochs}", shell=True), {}, "stands between quotation marks"),
        (Command('echo "\\"{lr}" {epochs}', shell=True), {}, "stands between quotation marks"),
        (Command("echo ${lr} {epochs}", shell=True), {}, "{lr} stands right after a $"),
        (Command("echo \\{lr} {epochs}", shell=True), {}, "{lr} stands right after a \\"),
        ("train {params}", {"space": {"seed": Int(1, 3)}, "baseline": {"seed": 1}}, "a name that hpo uses itself"),
        ("train {params}", {"dataset": "digits"}, "the command trains by itself, so dataset="),
        ("train {params}", {"folds": 2}, "the command trains by itself, so folds="),
        ("train {params}", {"direction": None}, "which way val_loss is better"),
        ("train {params}", {"direction": "up"}, "which way val_loss is better"),
        ("train {params}", {"objective": ("a", "b")}, "which way a, b is better"),
        ("train {params}", {"objective": "val loss"}, "has a space or a comma"),
        ("train {params}", {"objective": Objective("a:b", direction="minimize")}, "so objective="),
        ("train {params}", {"baseline": {"lr": 3.0}}, "outside its row"),
        ("train {params}", {"sampler": Grid()}, "lr"),
    ],
)
def test_what_could_not_run_is_refused(command: Any, fields: Any, wrong: str) -> None:
    with pytest.raises(StudyError) as caught:
        sweep(command, **fields)
    assert any(one in str(caught.value) for one in wrong.split("|"))


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"metrics": "loss (\\S+"}, "is no regular expression"),
        ({"metrics": "loss (\\S+)"}, "has no named group"),
        ({"metrics": None}, "metrics=None is neither the text of a regular expression nor several"),
        ({"metrics": re.compile("(?P<a>x)")}, "is neither the text of a regular expression nor several"),
        ({"metrics": ["(?P<a>x)", 3]}, "is neither the text of a regular expression nor several"),
        ({"value": "first"}, "neither last nor best"),
        ({"folder": 5}, "folder=5 is no path"),
        ({"words": ["a", "b"], "shell": True}, "a shell reads one text"),
    ],
)
def test_a_command_that_means_nothing_is_refused(fields: Any, wrong: str) -> None:
    with pytest.raises(StudyError, match=wrong):
        Command(**{"words": "train", **fields})


def test_a_pattern_has_to_name_the_objective() -> None:
    with pytest.raises(StudyError, match="no pattern in metrics= has a group called val_loss"):
        sweep(Command("train {params}", metrics="loss (?P<loss>\\S+)"))
    both = (r"epoch (?P<epoch>\d+)", r"loss (?P<val_loss>\S+)")
    assert sweep(Command("train {params}", metrics=both)).declaration()["(metrics)"] == "  ".join(both)


def test_the_best_of_several_objectives_is_refused() -> None:
    with pytest.raises(StudyError, match="is for one objective"):
        sweep(Command("x {params}", value="best"), objective=("a", "b"), direction=("minimize", "maximize"))


def test_a_row_that_is_not_always_there_is_left_out_of_words_and_refused_in_a_shell() -> None:
    space = {"optimizer": Categorical("sgd", "adam"), "momentum": Float(0, 1).when(optimizer="sgd")}
    fields = {"space": space, "baseline": {"optimizer": "adam"}}
    text = "train --optimizer {optimizer} --momentum {momentum}"
    study = sweep(text, **fields)
    assert study.program is not None
    assert study.program.argv(study.baseline_config) == ["train", "--optimizer", "adam"]
    with pytest.raises(StudyError, match='"momentum" is not always there'):
        sweep(Command(text, shell=True), **fields)
    with pytest.raises(StudyError, match='"program" is not always there, and it names the program'):
        sweep("{program} x", space={"program": Categorical("train", None)}, baseline={"program": "train"})
    with pytest.raises(StudyError, match='"clip" is not always there'):
        sweep(Command("x {clip}", shell=True), space={"clip": Categorical(None, 1.0)}, baseline={"clip": 1.0})


def test_a_row_that_counts_the_values_of_another_needs_no_place_of_its_own() -> None:
    space = {"layers": Int(1, 3), "units": Int(8, 64).per("layers")}
    study = sweep("train --units {units}", space=space, baseline={"layers": 2, "units": [8, 9]})
    assert study.program is not None
    assert study.program.argv(study.baseline_config) == ["train", "--units", "8", "9"]
    with pytest.raises(StudyError, match='nothing in the command reads "units"'):
        sweep("train {layers}", space=space, baseline={"layers": 2, "units": [8, 9]})


def test_a_study_of_a_command_is_declared_by_its_words_and_rows() -> None:
    study = sweep(description="x")
    shown = "train --lr {lr} --epochs {epochs}"
    assert study.declaration()["(command)"] == shown
    assert study.declaration()["lr"] == "1e-05 .. 0.1 log"
    assert study.baseline_config == {"lr": 1e-3, "epochs": 5}
    assert replace(study, name="other").fingerprint() == study.fingerprint()  # as `hpo run --name` does
    assert sweep(["train", "--lr", "{lr}", "a b", "{epochs}"]).declaration()["(command)"].endswith("'a b' {epochs}")
    with pytest.raises(StudyError, match="this study's command trains by itself"):
        study.check_trained_here("evaluate")


def test_a_command_runs_in_the_folder_of_its_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So every host runs it in the same place, and files of its own are found: they are code of the user's."""
    (tmp_path / "code").mkdir()
    for name in ("train.py", "big.py"):
        (tmp_path / "code" / name).write_text("x")
    (tmp_path / "code" / "big.py").write_text("x" * (2**20 + 1))
    declared = (
        "from hpo import Command, Int, Study\nstudy = Study(name='s', space={'a': Int(1, 2)},"
        "command=Command('python train.py big.py {a}', folder='code'), objective='x', direction='minimize',"
        "baseline={'a': 1})"
    )
    (tmp_path / "sweep.py").write_text(declared)
    found = find_study(str(tmp_path / "sweep.py"))
    assert found.study.program is not None
    assert found.study.program.folder == str(tmp_path / "code")
    assert found.study.program.files == [tmp_path / "code" / "train.py"]
    assert found.study.declaration()["(command)"] == "python train.py big.py {a}"


def test_the_code_of_a_command_is_the_files_with_an_ending_that_it_names(tmp_path: Path) -> None:
    """An interpreter has none, and differs between hosts; what a placeholder names is another one in each trial."""
    for name in ("train.py", "prepare.sh", "python", "{a}.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.py").mkdir()
    words = ["python", "train.py", "{a}.py", "folder.py", "prepare.sh", "gone.py"]
    both = [tmp_path / "prepare.sh", tmp_path / "train.py"]
    assert Command(words, folder=str(tmp_path)).files == both
    text = "./prepare.sh>log; (python 'train.py' {a}.py)|cat"
    assert Command(text, shell=True, folder=str(tmp_path)).files == both


DOCUMENT = (Path(__file__).parents[3] / "docs" / "own-training.md").read_text(encoding="utf-8")
LOGS = {  # what the scripts write for an epoch, for a batch of the validation set, its last one, its average of weights
    "timm": (
        "Train: 3 [   0/295 (  0%)]  Loss: 0.559 (0.559)  Time: 1.192s,    6.71/s  (1.192s,    6.71/s)  LR: 1.000e-05",
        "Test: [   0/78]  Time: 1.2 (1.2)  Loss:  1.2340 (1.2340)  Acc@1:  9.0000 ( 9.0000)  Acc@5: 95.00 (95.00)",
        "Test: [  78/78]  Time: 0.1 (0.2)  Loss:  0.9870 ( 1.002)  Acc@1: 75.0000 (71.2500)  Acc@5: 95.00 (90.00)",
        "Test (EMA): [  78/78]  Time: 0.1 (0.2)  Loss:  0.9 ( 1.0)  Acc@1: 75.0000 (99.0000)  Acc@5: 95.0 (90.0)",
    ),
    "torchvision": (
        "Epoch: [3]  [  0/295]  eta: 0:00:16  lr: 0.1  img/s: 7.07  loss: 2.08 (2.08)  acc1: 12.5 (12.5)  time: 3.3",
        "Epoch: [3] Total time: 0:00:05",
        "Test:   [ 0/79]  eta: 0:00:10  loss: 1.2 (1.2)  acc1: 50.0 (50.0)  acc5: 90.0 (90.0)  time: 0.1",
        "Test:  Acc@1 71.250 Acc@5 90.100",
        "Test: EMA Acc@1 99.000 Acc@5 99.000",
    ),
}


def documented() -> list[Command]:
    """The commands of docs/own-training.md."""
    programs = []
    for block in re.findall(r"```python\n(from hpo import .*?)```", DOCUMENT, re.DOTALL):
        names: dict[str, Any] = {}
        exec(block, names)
        programs.append(names["study"].program if "study" in names else names["command"])
    return [program for program in programs if program is not None]


def test_the_documented_studies_are_studies() -> None:
    _, timm, vision = documented()
    values = {"opt": "sgd", "lr": 0.1, "weight_decay": 0.0, "checkpoint_dir": "/c c/1", "seed": 1}
    line = timm.argv(values)[-1]
    assert line.startswith(
        """last='/c c/1'/run/last.pth.tar; test -e "$last" || last=; exec python train.py --data-dir"""
    )
    assert list(vision.argv(values)[-4:]) == ["--wd", "0.0", "--output-dir", "/c c/1"]


@pytest.mark.parametrize(("log", "program"), [*zip(LOGS, documented()[1:], strict=True)])
def test_the_documented_patterns_find_the_accuracy_of_an_epoch(log: str, program: Command) -> None:
    """Under its own number: a trial that goes on may train its last epoch again."""
    values = Values(("top1",), maximize=True)
    patterns = [re.compile(one) for one in program.patterns]
    taken = [values.take(record) for line in LOGS[log] for record in pattern_records(patterns, line)]
    assert [one for one in taken if one is not None] == [(3, {"top1": 71.25})]


SCRIPT = """
import argparse, os, torch
parser = argparse.ArgumentParser()
parser.add_argument("--output-dir")
parser.add_argument("--resume", default="")
args = parser.parse_args()
first = torch.load(args.resume, map_location="cpu", weights_only=True)["epoch"] + 1 if args.resume else 0
for epoch in range(first, 3):
    print(f"Epoch: [{epoch}]")
    torch.save({"epoch": epoch, "args": args}, os.path.join(args.output_dir, f"model_{epoch}.pth"))
"""


def test_what_goes_before_torchvisions_script_finds_the_newest_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own --resume would refuse every one of them, and half a file would fail the trial."""
    (going_on,) = re.findall(r'```python\n("""torchvision\'s train.py.*?)```', DOCUMENT, re.DOTALL)
    (tmp_path / "going_on.py").write_text(going_on)
    (tmp_path / "train.py").write_text(SCRIPT)
    torch.save({"epoch": 0, "args": argparse.Namespace(lr=0.1)}, tmp_path / "model_0.pth")
    os.utime(tmp_path / "model_0.pth", (1, 1))
    (tmp_path / "model_1.pth").write_bytes((tmp_path / "model_0.pth").read_bytes()[:-100])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["going_on.py", "--output-dir", "."])
    with torch.serialization.safe_globals([]):  # what it allows is forgotten here
        runpy.run_path("going_on.py")
    assert capsys.readouterr().out == "Epoch: [1]\nEpoch: [2]\n"
