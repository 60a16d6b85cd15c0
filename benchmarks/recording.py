"""Keep what a program prints as a dated record, with the machine it ran on."""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

from hpo.trainers.devices import usable_cores

__all__ = ["recorded"]


class _Tee(io.TextIOBase):
    def __init__(self) -> None:
        self.text = io.StringIO()

    def write(self, text: str) -> int:
        self.text.write(text)
        return sys.__stdout__.write(text) if sys.__stdout__ else len(text)

    def flush(self) -> None:
        if sys.__stdout__:
            sys.__stdout__.flush()


@contextmanager
def recorded(name: str, title: str, wanted: bool) -> Iterator[None]:
    """What is printed meanwhile also goes to records/DATE-`name`.md, if `wanted`."""
    if not wanted:
        yield
        return
    load, tee = os.getloadavg()[0], _Tee()
    with redirect_stdout(tee):
        yield
    import optuna
    import torch

    from hpo.training.device import device_name

    now, program = datetime.now(UTC), Path(sys.argv[0]).stem
    machine = (
        f"{device_name(torch.device('cpu'))}, {usable_cores()} cores; torch {torch.__version__}, "
        f"Optuna {optuna.__version__}, Python {sys.version.split()[0]}; load average before the start {load:.1f}"
    )
    heading = f"# {title} ({now:%Y-%m-%d})\n\n`python -m benchmarks.{program} {shlex.join(sys.argv[1:])}`\n\n{machine}"
    path = Path(__file__).parent / "records" / f"{now:%Y-%m-%d}-{name}.md"
    path.write_text(f"{heading}\n\n```\n{tee.text.getvalue().strip()}\n```\n")
