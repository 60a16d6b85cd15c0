"""Take the protections of docs/failures.md out, one at a time, in a copy of this project: their tests must fail.

    python tests/system/faults/take_out.py [WORD...]     those with one of the words in their name, place or test

Prints where each stands and how its test failed; ends with 1 if one did not fail, or failed in other words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from altered_code import altered
from protections import PROTECTIONS, Protection

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("hpo", "models", "data", "studies", "tests", "pyproject.toml")


def copy_project(to: Path) -> None:
    for part in PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, to / part)
    world = to / "tests" / "system" / "faults" / "world.py"  # most of these tests fail by waiting in vain
    world.write_text(world.read_text().replace("PATIENCE = 180.0", "PATIENCE = 40.0"))


def take_out(protection: Protection, copy: Path) -> str:
    """How its test failed; "" if it did not, or in other words."""
    path = copy / "hpo" / protection.file
    source = path.read_text()
    path.write_text(altered(source, protection.function, protection.code, protection.without))
    options = ["-q", "-x", "-p", "no:cacheprovider", "--tb=short", f"--basetemp={copy / 'tmp'}"]
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"tests/{protection.test}"],
            cwd=copy, env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        path.write_text(source)
    said = [line for line in run.stdout.splitlines() if line.startswith("E  ")]
    if run.returncode != 1 or not any(protection.fails in line for line in said):
        print(run.stdout[-4000:], run.stderr[-2000:])
        return ""
    return " ".join(next(line for line in said if protection.fails in line).split()[1:])[:140]


def main(words: list[str]) -> int:
    missed = 0
    with tempfile.TemporaryDirectory(prefix="hpo-take-out-") as folder:
        copy = Path(folder)
        copy_project(copy)
        for protection in PROTECTIONS:
            if words and not any(
                word in f"{protection.name} {protection.file} {protection.function} {protection.test}" for word in words
            ):
                continue
            place = f"{protection.file}, {protection.function}"
            how = take_out(protection, copy)
            missed += not how
            print(f"{protection.name} | {place} | {protection.test} | {how or 'NOT SEEN'}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
