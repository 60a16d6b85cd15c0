"""A user's function as a trainer gets it: the file it is in, and what it is told when something is not there."""

from __future__ import annotations

import pickle
import queue
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hpo.errors import StudyError
from hpo.messages import Inspect, Job, Message, Protocol
from hpo.own_messages import Answer, OwnTraining, Question
from hpo.own_training.inspection import inspect_function
from hpo.own_training.link import Link, Paused
from hpo.own_training.objective import run_objective
from hpo.training.progress import StopRequest
from hpo.user_function import load_function


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return f"{folder / name}"


def test_a_file_is_imported_by_its_name_with_no_arguments_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, so that what it makes can be pickled for the workers of a DataLoader."""
    monkeypatch.setattr(sys, "argv", ["trainer", "--fd", "3"])
    monkeypatch.syspath_prepend(str(tmp_path))
    path = written(
        tmp_path, "own_file_one.py", "import sys\nseen = list(sys.argv)\ndef objective(trial): return seen\n"
    )
    function = load_function(f"{path}:objective")
    assert function(None) == [path]
    assert pickle.loads(pickle.dumps(function)) is function
    assert sys.argv == ["trainer", "--fd", "3"]


def test_a_file_with_the_name_of_an_installed_module_is_still_the_one_that_runs(tmp_path: Path) -> None:
    path = written(tmp_path, "random.py", "def objective(trial): return 'mine'\n")
    assert load_function(f"{path}:objective")(None) == "mine"
    assert load_function(f"{path}:objective") is load_function(f"{path}:objective")


@pytest.mark.parametrize(
    ("text", "wrong", "evidence"),
    [
        ("import nowhere_to_be_found\n", "does not import: ModuleNotFoundError", "line 1: import nowhere_to_be_found"),
        ("x = 1\nraise SystemExit(2)\n", "does not import: SystemExit: 2", "line 2: raise SystemExit"),
        ("def objectiv(trial): ...\n", "has no function objective", "objectiv"),
    ],
)
def test_what_is_not_there_is_told_with_the_users_line(tmp_path: Path, text: str, wrong: str, evidence: str) -> None:
    path = written(tmp_path, f"own_file_{len(text)}.py", text)
    with pytest.raises(StudyError, match=wrong) as caught:
        load_function(f"{path}:objective")
    assert evidence in "".join(caught.value.evidence)


def test_a_package_that_is_not_there_is_named_with_the_place_where_it_belongs(tmp_path: Path) -> None:
    """The line was called wrong, when hpo ran in an environment of its own."""
    path = written(tmp_path, "own_file_package.py", "from nowhere.to_be import found\n")
    with pytest.raises(StudyError) as caught:
        load_function(f"{path}:objective")
    assert caught.value.next == (
        f"install nowhere where hpo is installed ({sys.prefix}), or mend that line, then run it again"
    )


def test_a_function_that_takes_no_trial_is_found_before_the_first_one(tmp_path: Path) -> None:
    path = written(tmp_path, "own_file_two.py", "def objective(trial, fold): ...\ndef loss(trial, fold=0): ...\n")

    def inspected(name: str) -> dict[str, Any] | None:
        own = OwnTraining(f"{path}:{name}", "own", ("minimize",), ("value",))
        job = Job(1, 0, {}, Protocol(1, ("value",)), {}, {}, 0, own=own)
        return inspect_function(Inspect(job, []), torch.device("cpu")).problem

    problem = inspected("objective")
    assert problem is not None
    assert problem["fact"] == "objective cannot be called with a trial: missing a required argument: 'fold'"
    assert problem["evidence"] == [f"{path}, line 1: def objective"]
    assert inspected("loss") is None


def test_a_pause_ends_a_function_at_its_next_word_also_while_it_waits_for_an_answer() -> None:
    stop, answers, sent = StopRequest(), queue.SimpleQueue[Answer](), list[Message]()
    link = Link(7, sent.append, stop, answers)
    answers.put(Answer(7, 0, value=3))
    assert link.ask("suggest", name="x") == 3
    answers.put(Answer(7, 0, value="late"))  # to an earlier question
    answers.put(Answer(7, 1, error=["ValueError", "low > high"]))
    with pytest.raises(ValueError, match="low > high"):
        link.ask("suggest", name="y")
    stop.asked = True
    with pytest.raises(Paused):
        link.tell(Question(7, 9, "suggest"))
    stop.asked = False
    link.close()
    with pytest.raises(RuntimeError, match="this trial has ended"):
        link.ask("suggest", name="z")
    assert [one.number for one in sent if isinstance(one, Question)] == [0, 1]
    assert not issubclass(Paused, Exception)


@pytest.mark.parametrize(("asked", "outcome"), [(True, "stopped"), (False, "complete")])
def test_a_function_that_swallows_its_pause_has_no_result(tmp_path: Path, asked: bool, outcome: str) -> None:
    """What it returns then is how far it had come, and would count as COMPLETE."""
    text = "def objective(trial):\n    try: trial.report(0.5, 0)\n    except BaseException: pass\n    return 0.5\n"
    path = written(tmp_path, f"own_file_{outcome}.py", text)
    own = OwnTraining(f"{path}:objective", "own", ("maximize",), ("value",))
    job = Job(7, 0, {}, Protocol(0, ("value",)), {}, {}, seed=1, own=own)
    ended = run_objective(job, [].append, StopRequest(asked=asked), queue.SimpleQueue())
    assert ended.outcome == outcome
