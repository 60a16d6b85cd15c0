"""Tests for test_killed_runs.py alone, which names this file and kills them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy.engine import URL

from hpo.storage.embedded.embedded import embedded_url


def test_that_is_killed(postgres_server: URL, tmp_path: Path) -> None:
    """With a server that it shares, one of its own, a process and a folder that `tempfile` gave it."""
    embedded_url(tmp_path / "home")
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ready = Path(os.environ["READY"])
    ready.with_suffix(".new").write_text(f"{sleeping.pid} {tmp_path} {tempfile.mkdtemp()}")
    ready.with_suffix(".new").rename(ready)
    time.sleep(600)


def test_of_the_next_run() -> None:
    """What has to be gone is gone before it."""
