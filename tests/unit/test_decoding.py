"""What stands as text in the database is decoded in one place, and whatever it is, that raises one error or none."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.decoding import Undecodable, decoded, decoded_mapping, decoded_or
from hpo.names import is_artifact_id, is_file_name

ROOT = Path(hpo.__file__).parent
ELSEWHERE = {
    "dashboard/answering.py": "what optuna-dashboard answers in this process",
    "doctor/devices.py": "what a program of ours printed",
    "evaluation/winner_files.py": "a file that our trainer has just written",
    "fork_server.py": "what our own coordinator asks for",
    "fresh_process.py": "what this process has written for the one that it becomes",
    "messages.py": "what our own process says",
    "report/html.py": "a figure of ours",
    "storage/attribute_block.py": "what this process has packed itself",
    "storage/finished_trial.py": "what this process has packed itself",
    "storage/database_url.py": "the first line of a file that the user names as a database",
    "decoding.py": "here",
    "storage/journal.py": "a file with a digest, guarded there",
    "training/checkpoint.py": "a file with a digest, guarded there",
}


def test_no_other_file_decodes_json_of_the_database() -> None:
    found = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if "json.loads(" in path.read_text()}
    assert found == ELSEWHERE.keys()


def test_nothing_of_hpo_unpickles_or_evaluates_text() -> None:
    """One file does: batches of CIFAR, after their checksum. torch.load is let through where it reads tensors alone."""
    folders = [ROOT, *(ROOT.parent / name for name in ("models", "data", "studies"))]
    assert {path.name for folder in folders for path in folder.rglob("*.py") if _runs_data(path)} == {"cifar.py"}


def _tensors_alone(call: ast.Call) -> bool:
    return any(each.arg == "weights_only" and ast.unparse(each.value) == "True" for each in call.keywords)


def _runs_data(path: Path) -> bool:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call) and not _tensors_alone(node)}
    return bool(imported & {"pickle", "marshal", "shelve", "dill", "joblib"} or called & {"eval", "exec", "torch.load"})


@pytest.mark.parametrize(
    "text", ["", "{", "nul", "[" * 100_000, '{"a":' * 70 + "1" + "}" * 70, "[" * 65 + "]" * 65, "9" * 5000, None]
)  # fmt: skip
def test_what_is_no_json_of_ours_is_undecodable(text: Any) -> None:
    with pytest.raises(Undecodable) as caught:
        decoded(text)
    assert len(str(caught.value)) < 150
    assert decoded_or(text, {}) == {}


def test_json_is_decoded_as_it_is() -> None:
    assert decoded('{"a": [1, 2.5, null, "x"], "b": NaN}')["a"] == [1, 2.5, None, "x"]
    assert len(decoded("[" * 64 + "]" * 64)) == 1
    assert decoded_or("[1]", {}) == {}
    assert decoded_or('{"a": 1}', {}) == {"a": 1}
    with pytest.raises(Undecodable):
        decoded_mapping("[1]")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/tmp", "a/b", "a\0b", "a\nb", "-x", "x" * 101, None, 3, ["a"]]
)
def test_what_could_climb_out_of_a_folder_is_no_name(name: Any) -> None:
    assert not is_file_name(name)
    assert not is_artifact_id(name)
