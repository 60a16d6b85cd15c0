"""`hpo` as its users run it, with what a test may ask for in the environment.

FAKE        trainers are fake_trainer.py, told what to do in this variable
TRAINER_LOG trainers are forked from logged_trainer.py: they write to this file, and are slow while SLOWLY exists
OTHER_HOST  the process believes that it runs on another machine of this name; a@1 and a@2 are two of the name a
CLOCK       seconds by which this machine's clock is wrong
"""

from __future__ import annotations

import datetime
import functools
import os
import sys
import time
from pathlib import Path
from typing import Any

from hpo import api
from hpo.cli.main import main
from hpo.search import identity
from hpo.trainers import forked

HERE = Path(__file__).parent


def believe_in_another_host(name: str) -> None:
    host = name.partition("@")[0]
    identity.socket = type("socket", (), {"gethostname": staticmethod(lambda: host)})  # type: ignore[attr-defined]
    identity._boot_id = lambda: f"boot of {name}"


def set_clock(seconds: float) -> None:
    """Every clock that Python code reads, in every module that has read its name already."""
    real_time, real_datetime = time.time, datetime.datetime

    class Wrong(real_datetime):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.now(tz) + datetime.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> Any:
            return real_datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=seconds)

    time.time = lambda: real_time() + seconds
    datetime.datetime = Wrong  # type: ignore[misc]
    for name, module in list(sys.modules.items()):
        if name.startswith(("hpo", "optuna")) and getattr(module, "datetime", None) is real_datetime:
            module.datetime = Wrong  # type: ignore[attr-defined]


if __name__ == "__main__":
    if "FAKE" in os.environ:
        api.run = functools.partial(api.run, trainer=(sys.executable, str(HERE / "fake_trainer.py")))
    if "TRAINER_LOG" in os.environ:
        forked.command_of = lambda module: (sys.executable, "-P", str(HERE / "logged_trainer.py"), module)
    if "OTHER_HOST" in os.environ:
        believe_in_another_host(os.environ["OTHER_HOST"])
    if "CLOCK" in os.environ:
        set_clock(float(os.environ["CLOCK"]))
    main()
