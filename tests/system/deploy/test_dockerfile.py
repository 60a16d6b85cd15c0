"""The Dockerfile: linted, without secrets, without root, and built where a builder is at hand."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.system.deploy.composed import DOCKERFILE, ROOT, entrypoint, image_environment
from tests.system.deploy.tools import find, needs


def stage(name: str) -> str:
    """The instructions of one stage."""
    return DOCKERFILE.read_text().split(f" AS {name}\n")[1].split("\nFROM ")[0]


@needs("hadolint", why="it lints the Dockerfile")
def test_the_steps_pass_the_linter() -> None:
    done = subprocess.run([find("hadolint"), str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_is_labelled_and_runs_without_root(target: str) -> None:
    """Both come from the stage whose account owns nothing but its home, and neither goes back to root."""
    assert re.search(rf"^FROM runtime AS {target}$", DOCKERFILE.read_text(), re.MULTILINE)
    assert "USER" not in stage(target)
    assert re.search(r"^USER 10001:10001$", stage("runtime"), re.MULTILINE)
    assert "org.opencontainers.image.revision=$GIT_COMMIT" in stage(target)
    assert image_environment()["HPO_HOME"] == "/var/lib/hpo"
    assert entrypoint() == ["hpo"]


def test_the_base_is_pinned_and_no_secret_is_an_argument() -> None:
    """One base, by tag at least; build arguments stay in the image's history, so none may be a password."""
    text = DOCKERFILE.read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=python:\d+\.\d+\S*-slim-bookworm", text, re.MULTILINE)
    assert set(re.findall(r"^ARG (\w+)", text, re.MULTILINE)) == {"PYTHON_IMAGE", "TORCH", "TORCH_INDEX", "GIT_COMMIT"}
    assert not re.search(r"password|secret|token", text, re.IGNORECASE)


def test_the_image_has_the_torch_that_hpo_was_tried_with() -> None:
    """As pyproject.toml says it, which takes any later torch too."""
    tried = re.search(r'"torch>=[\d.]+", # tried with ([\d.]+),', (ROOT / "pyproject.toml").read_text())
    pinned = re.search(r'^ARG TORCH="torch==([\d.]+) torchvision==[\d.]+"$', DOCKERFILE.read_text(), re.MULTILINE)
    assert tried is not None
    assert pinned is not None
    assert pinned[1] == tried[1]


def test_the_constraints_leave_to_torch_what_it_brings() -> None:
    """setuptools too: with a pin of it torch 2.11 could not be installed."""
    names = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert "numpy" in names
    theirs = {"torch", "torchvision", "triton", "setuptools"} & set(names)
    assert not theirs | {name for name in names if name.startswith("nvidia")}


def test_the_build_sees_its_sources_and_nothing_else() -> None:
    """.dockerignore leaves everything out, then lets in exactly what is copied: no .env, no secrets, no history."""
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
        for word in line.split()
    }
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []
