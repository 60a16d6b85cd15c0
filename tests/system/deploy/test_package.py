"""The package as an image or another project installs it: not the checkout, a wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.installed import ROOT, build_wheel

PACKAGES = ("hpo", "models", "data", "studies")


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    """An editable install hides what a wheel forgets: subpackages, templates, tables. All of it lies in hpo/."""
    held = {name for name in zipfile.ZipFile(build_wheel(tmp_path)).namelist() if ".dist-info/" not in name}
    wanted = {
        (Path() if package == "hpo" else Path("hpo")).joinpath(path.relative_to(ROOT)).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted
