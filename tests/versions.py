"""The unit tests on other versions of Python and torch than this installation's: `make test-versions`.

Each pair has an environment of its own in build/versions, as constraints.txt resolves for it, which is removed when its
tests have run: torch with its CUDA libraries is 5 to 7 GB. What cannot be had on this machine (an interpreter that is
not installed) is said in the table, and is no failure unless nothing ran.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "build" / "versions"
PAIRS = (("3.11", "2.9.1"), ("3.12", "2.11.0"), ("3.13", "2.15.0"))
"""Python, and torch; torchvision is the one that torch goes with."""
EXTRAS = "compress,onnx,png,tensorboard"
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jsonschema", "pyyaml")


@dataclass
class Row:
    """A line of the table. words: what pytest said last, or why there is nothing to say."""

    pair: str
    words: str
    seconds: float = 0.0
    ran: bool = False
    good: bool = False

    def __str__(self) -> str:
        word = "pass" if self.good else "FAIL" if self.ran else "-"
        return f"{self.pair:32} {word:5} {self.seconds:5.0f} s  {self.words}"


def interpreter(version: str) -> str | None:
    """The path of a Python of that version, on PATH or among pyenv's."""
    found = shutil.which(f"python{version}")
    places = [Path(found)] if found else []
    places += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for place in places:
        said = subprocess.run([str(place), "--version"], capture_output=True, text=True).stdout
        if said.startswith(f"Python {version}."):  # pyenv's own program may name a version that is not installed
            return str(place)
    return None


def tried(python: str, torch: str, arguments: list[str], *, keep: bool) -> Row:
    """Install, look whether the packages agree, and run the unit tests."""
    pair, begun = f"Python {python}, torch {torch}", time.monotonic()
    if (program := interpreter(python)) is None:
        return Row(pair, f"no Python {python} on PATH or in ~/.pyenv")
    place = PLACE / f"{python}-{torch}"
    shutil.rmtree(place, ignore_errors=True)
    pip = [str(place / "bin" / "python"), "-m", "pip"]
    wanted = ["-c", str(ROOT / "constraints.txt"), f"torch=={torch}", *TOOLS, f"{ROOT}[{EXTRAS}]"]
    try:
        for words in (
            [program, "-m", "venv", str(place)],
            [*pip, "install", "--quiet", "--disable-pip-version-check", *wanted],
            [*pip, "check"],
        ):
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                last = (done.stdout + done.stderr).strip().splitlines()[-1:]
                return Row(pair, f"not installed: {' '.join(last)}", time.monotonic() - begun, ran=True)
        run = subprocess.run(
            [pip[0], "-m", "pytest", "tests/unit", "-q", "-n", "2", "-p", "no:cacheprovider", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(run.stdout[-6000:] if run.returncode else "", end="", flush=True)
        words_said = re.sub(r"^=+ | =+$", "", (run.stdout.strip().splitlines() or ["nothing"])[-1])
        return Row(pair, words_said, time.monotonic() - begun, ran=True, good=run.returncode == 0)
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", metavar="3.12", help="this Python alone")
    parser.add_argument("--torch", metavar="2.10.0", help="with --only: this torch in place of the usual one")
    parser.add_argument("--keep", action="store_true", help="leave the environments in build/versions")
    options, arguments = parser.parse_known_args()
    pairs = [(python, options.torch or torch) for python, torch in PAIRS if options.only in (None, python)]
    rows = []
    for python, torch in pairs:
        rows.append(tried(python, torch, arguments, keep=options.keep))
        print(rows[-1], flush=True)
    if not any(row.ran for row in rows):
        print(f"error: nothing ran of {', '.join(row.pair for row in rows) or options.only}", file=sys.stderr)
        return 1
    return 0 if all(row.good for row in rows if row.ran) else 1


if __name__ == "__main__":
    sys.exit(main())
