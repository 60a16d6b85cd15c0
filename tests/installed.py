"""hpo as its users have it: from a checkout, from a wheel in a clean virtual environment, and as in the image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Installed:
    """A Python with hpo in it. `run` starts it without PYTHONPATH, so that it finds only what is installed."""

    python: Path
    environ: dict[str, str]

    def run(self, folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command in `folder`: "hpo" and "python" are this installation's own."""
        program = self.python if words[0] == "python" else self.python.with_name(words[0])
        return subprocess.run(
            [str(program), *words[1:]],
            cwd=folder, env=self._environment(folder), input=stdin, capture_output=True, text=True,
        )  # fmt: skip

    def _environment(self, folder: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return {**kept, "HPO_HOME": str(folder / "home"), **{n: v.format(cwd=folder) for n, v in self.environ.items()}}


def editable() -> Installed:
    """The checkout that these tests belong to, installed with `pip install -e`."""
    return Installed(Path(sys.executable), {})


def from_wheel(folder: Path) -> Installed:
    """A wheel of what the Dockerfile copies, in a virtual environment made in `folder`, with hpo only from the wheel.

    torch and the other dependencies are gigabytes, so the environment borrows them from the one that runs the tests,
    by a line in a .pth file: of a folder that is named so, no other .pth file is read, and none of an editable hpo.
    """
    home = folder / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    _pip("--python", str(python), "install", "--no-deps", "--no-index", str(build_wheel(folder)))
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    return Installed(python, {})


def as_in_the_image(wheel: Installed) -> Installed:
    """The same steps and settings as in the image, of which HPO_HOME is the folder that commands run in."""
    return Installed(wheel.python, {"HPO_HOME": "{cwd}", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"})


def build_wheel(folder: Path) -> Path:
    """The wheel of the files that the Dockerfile copies: there, `pip install .` builds it too."""
    source = folder / "source"
    source.mkdir()
    for name in copied_by_the_dockerfile():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def copied_by_the_dockerfile() -> list[str]:
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return sorted({word for line in lines for word in line.split()})


def _pip(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "--quiet", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
