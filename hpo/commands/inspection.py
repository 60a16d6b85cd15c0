"""Can the command be run here? Asked of a trainer before the first trial; nothing is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from hpo.errors import StudyError
from hpo.messages import Inspected
from hpo.own_messages import OwnCommand

__all__ = ["inspect_command"]

SCRIPTS = (".py", ".sh", ".pl", ".rb", ".R", ".jl", ".js", ".lua", ".awk")
"""Endings of a second word that can only be a file: `python train.py`."""


def inspect_command(command: OwnCommand, environ: Mapping[str, str]) -> Inspected:
    """Look for the folder, the program and its script, as they would be looked for to run it."""
    try:
        _check(command, environ)
    except StudyError as error:
        problem = {"kind": "StudyError", "fact": error.fact, "evidence": list(error.evidence), "next": error.next}
        return Inspected(problem=problem)
    return Inspected()


def _check(command: OwnCommand, environ: Mapping[str, str]) -> None:
    folder, program = Path(command.folder), command.argv[0]
    if not folder.is_dir():
        raise StudyError(f"the command runs in {folder}, which is no folder here", next="Command(..., folder=...)")
    path = environ.get("PATH", os.defpath)
    seen = os.pathsep.join(str(folder / entry) for entry in path.split(os.pathsep))  # "." and "" are that folder
    named = folder / program if "/" in program else Path(shutil.which(program, path=seen) or "")
    if not named.name:
        raise StudyError(
            f'the command\'s program "{program}" is not on the PATH',
            evidence=[f"PATH={path}"],
            next=f"write its whole path, {sys.executable} for the Python that hpo runs in"
            if program.startswith("python")
            else f"write its whole path, or ./{program} for one in {folder}",
        )
    if not named.is_file():
        raise StudyError(
            f"the command's program {named} is not there", next=f"check the path; it is seen from {folder}"
        )
    if not os.access(named, os.X_OK):
        raise StudyError(f"the command's program {named} may not be executed", next=f"chmod +x {named}")
    script = command.argv[1] if len(command.argv) > 1 else ""
    if script.endswith(SCRIPTS) and not script.startswith("-") and not (folder / script).is_file():
        raise StudyError(
            f"there is no {script} in {folder}",
            evidence=[command.shown],
            next="the command runs in the folder of the study's file; Command(..., folder=...) names another",
        )
