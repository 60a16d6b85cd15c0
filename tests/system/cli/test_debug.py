"""`hpo run --debug` in a real terminal: a debugger, Ctrl-C, and what is left in the database."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, text

from hpo.cli.main import run_command

OBJECTIVE = """
import time

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    breakpoint()
    trial.report(x, 0)
    return x + 1

def endless(trial):
    print("training now")
    while True:
        time.sleep(0.01)

def fails(trial):
    return {}["nothing there"]
"""
MODEL = """
import torch
from torch import nn
from hpo import Int, Study
from hpo.models import Model, Reads

class Network(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        if self.training:
            breakpoint()
        return self.layer(images.flatten(1))

def build(shape, classes, width):
    return Network(shape, classes)

study = Study(name="debugged", dataset="digits", model=Model("my_study:build", reads={"width": Reads(int)}),
              space={"width": Int(1, 2), "batch_size": 512, "lr": 0.1}, epochs=2, baseline={"width": 1})
"""


class Terminal:
    """`hpo run --debug` on a terminal of its own."""

    def __init__(self, folder: Path, environ: dict[str, str], *words: str) -> None:
        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "hpo", "run", "--debug", *words]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.shown = ""

    def until(self, words: str, seconds: float = 120.0) -> None:
        limit = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < limit, self.shown
            assert self._read() or words in self.shown, self.shown

    def type(self, text: str) -> None:
        self.shown = ""
        os.write(self._master, text.encode())

    def ends(self, code: int) -> str:
        while self._read():
            pass
        assert self.process.wait(60) == code, self.shown
        return self.shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        """False when nobody has the terminal any more."""
        if not select.select([self._master], [], [], 1.0)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


Debug = Callable[..., Terminal]


@pytest.fixture
def debug(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Debug]:
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    (tmp_path / "own.py").write_text(OBJECTIVE)
    (tmp_path / "my_study.py").write_text(MODEL)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "TERM": "dumb"}
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(tmp_path, environ, *words))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def states(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT CAST(state AS text) FROM trials ORDER BY trial_id")).scalars())


def test_a_breakpoint_has_the_terminal_and_quitting_it_puts_the_trial_back(debug: Debug, engine: Engine) -> None:
    """The lease is kept while somebody thinks, and the trial that was put back is the next one's."""
    objective = ("--study", "own.py:objective", "--direction", "minimize")
    first = debug(*objective)
    first.until("(Pdb)")
    assert "trial 0 begins" in first.shown
    first.type("p trial.number + 40\n")
    first.until("(Pdb)")
    assert "40" in first.shown
    assert psutil.Process(first.process.pid).children() == []
    first.type("q\n")
    assert "trial 0 waits again" in first.ends(130)
    assert states(engine) == ["WAITING"]
    second = debug(*objective)
    second.until("(Pdb)")
    second.type("c\n")
    assert "trial 0 complete after 1 report" in second.ends(0)
    assert states(engine) == ["COMPLETE"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_training_leaves_nothing_running(
    debug: Debug, engine: Engine, number: int, code: int
) -> None:
    terminal = debug("--study", "own.py:endless", "--direction", "minimize")
    terminal.until("training now")
    if number == signal.SIGINT:
        terminal.process.send_signal(number)
    else:
        terminal.process.terminate()
    assert "trial 0 waits again" in terminal.ends(code)
    assert states(engine) == ["WAITING"]


def test_a_breakpoint_in_a_model_stops_in_its_trial_and_not_before(debug: Debug, engine: Engine) -> None:
    terminal = debug("--study", "my_study.py")
    terminal.until("(Pdb)")
    assert "trial 0 begins: width 1" in terminal.shown
    terminal.type("p images.shape\n")
    terminal.until("(Pdb)")
    assert "1, 8, 8])" in terminal.shown
    terminal.type("import sys; sys.breakpointhook = lambda: None\n")
    terminal.until("(Pdb)")
    terminal.type("c\n")
    assert "trial 0 complete after 2 epochs" in terminal.ends(0)
    assert states(engine) == ["COMPLETE"]


def test_a_failed_trial_shows_its_traceback(debug: Debug, engine: Engine) -> None:
    shown = debug("--study", "own.py:fails", "--direction", "minimize").ends(1)
    assert "trial 0 failed: KeyError: 'nothing there'" in shown
    assert 'return {}["nothing there"]' in shown
    assert states(engine) == ["FAIL"]


def test_a_study_without_a_trial_left_is_not_extended(debug: Debug, engine: Engine) -> None:
    objective = ("--study", "own.py:fails", "--direction", "minimize")
    debug(*objective).ends(1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE hpo_studies SET trials_target = 1"))
    shown = debug(*objective).ends(2)
    assert "has no trial left to debug: it has all the trials that it was given" in " ".join(shown.split())
    assert states(engine) == ["FAIL"]


@pytest.mark.parametrize(
    "words",
    [("--ray", "local"), ("--trials", "5"), ("--timeout", "1m"), ("--tracker", "mlflow"), ("--retry-failed",)],
    ids=" ".join,
)
def test_what_would_change_nothing_about_one_trial_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_TRAINERS", "2")  # which may be set for other runs
    assert run_command(["run", "--study", "mlp_digits", "--debug", "--device", "cpu", *words]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert f"--debug trains one trial on this terminal, which {words[0]} would not change" in shown
