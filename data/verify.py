"""`python -m hpo.data.verify` checks the data sets' files. One JSON document on stdout; nothing is downloaded.

It is a process of its own because reading data sets needs torch, which the caller may not load.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hpo.data.cifar import CIFAR10_FILES
from hpo.data.files import Folders, Split
from hpo.data.mnist import FASHION_MNIST_FILES, MNIST_FILES
from hpo.data.source import SourceFile, verify_sources
from hpo.settings import Settings

__all__ = ["main", "verify"]

FILES: dict[str, Mapping[Split, Sequence[SourceFile]]] = {
    "mnist": MNIST_FILES,
    "fashion_mnist": FASHION_MNIST_FILES,
    "cifar10": CIFAR10_FILES,
}


def verify(folders: Folders) -> list[dict[str, Any]]:
    """For each data set: name, altered and missing (paths), verified (how many files are as published)."""
    found = []
    for name, splits in FILES.items():
        files = [file for split in splits.values() for file in split]
        altered, missing = verify_sources(files, folders)
        verified = len(files) - len(altered) - len(missing)
        found.append({"name": name, "altered": altered, "missing": missing, "verified": verified})
    return found


def main() -> None:
    settings = Settings.read()
    folders = Folders(settings.data_dir or settings.home / "data", settings.home / "cache")
    sys.stdout.write(json.dumps(verify(folders)))


if __name__ == "__main__":
    main()
