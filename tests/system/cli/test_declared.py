"""Commands that need no database: help, version, studies, space, check, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_commands import ROOT, Command


def test_version(hpo: Command) -> None:
    from hpo import __version__

    assert hpo("--version").out == f"hpo {__version__}\n"


def test_studies_as_json(hpo: Command) -> None:
    found = json.loads(hpo("studies", "--json").out)
    assert {"name", "dataset", "model", "parameters"} <= set(found[0])
    digits = next(one for one in found if one["name"] == "mlp_digits")
    assert digits["dataset"] == "digits"
    assert {"lr", "layers", "hidden_units"} <= set(digits["parameters"])


def test_studies_for_people(hpo: Command) -> None:
    out = hpo("studies").out
    assert "mlp_digits" in out
    assert "no download" in out


@pytest.mark.parametrize("command", ["space", "check"])
def test_space_and_check_show_every_row(hpo: Command, command: str) -> None:
    done = hpo(command, "--study", "mlp_digits")
    assert done.code == 0
    assert "32 .. 512 log per layers" in done.out
    assert "momentum" in done.out


def test_check_as_json(hpo: Command) -> None:
    facts = json.loads(hpo("check", "--study", "mlp_digits", "--json").out)
    assert facts["ok"] is True
    assert facts["read_by_model"] == ["layers", "hidden_units"]
    assert facts["built"] == 5  # one or four layers, all rows at their low or high ends, and the baseline
    assert facts["parameters"][0] < facts["parameters"][1]
    assert [estimate["parameters"] for estimate in facts["estimates"]] == sorted(facts["parameters"])


def test_a_study_of_ones_own_by_path_and_by_module(hpo_process: Command, tmp_path: Path) -> None:
    text = (ROOT / "studies" / "mlp_digits.py").read_text(encoding="utf-8").replace("mlp_digits", "own")
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    by_path = json.loads(hpo_process("space", "--study", "./mine.py", "--json").out)
    by_module = json.loads(hpo_process("space", "--study", "mine:study", "--json").out)
    assert by_path == by_module
    assert by_path["study"] == "own"


def test_completion_offers_the_studies(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_HPO_COMPLETE": "complete_bash",
        "COMP_WORDS": "hpo run --study mlp",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [sys.executable, "-m", "hpo"], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert {"mlp_digits", "mlp_mnist"} <= set(done.stdout.split())


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    script = f"{sys.executable} -m hpo studies --json | true; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    assert done.stderr == ""
    assert done.stdout.strip() in ("141", "0")  # 0 where it was done before the reader left


def test_no_command_at_all_shows_the_help(hpo_process: Command) -> None:
    done = hpo_process()
    assert done.code == 2
    assert "Usage: hpo" in done.out + done.err
