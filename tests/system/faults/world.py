"""What a fault test works with: a database, hpo processes in it, and one check of what must hold in the end."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from fake_trainer import metric
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from warm import WarmProcess, can_be_warm, servers_of, start_warm

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
PATIENCE = 180.0


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for `condition` to be true, and return what it returned."""
    limit = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < limit, f"waited {seconds:.0f} s for: {what}"
        time.sleep(0.03)
    return result


@dataclass(frozen=True)
class Line:
    """A line of a fake trainer's log."""

    time: float
    pid: int
    event: str
    number: int
    epoch: int


class Hpo:
    """One `hpo` process. warm: forked from one that has imported everything"""

    process: subprocess.Popen[bytes] | WarmProcess

    def __init__(
        self,
        arguments: list[str],
        environ: dict[str, str],
        output: Path,
        terminal: int | None = None,
        *,
        warm: bool = False,
    ) -> None:
        self._output = output
        with output.open("wb") as file:
            if warm:
                command = [str(HERE / "coordinator.py"), *arguments]
                self.process = start_warm(command, output.parent, environ, file.fileno())
                return
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "coordinator.py"), *arguments],
                cwd=output.parent, env=environ,
                stdout=file if terminal is None else terminal, stderr=file if terminal is None else terminal,
                stdin=subprocess.DEVNULL, start_new_session=terminal is not None,
                preexec_fn=None if terminal is None else lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0),
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self._output.read_text()

    def says(self, words: str) -> None:
        until(lambda: words in self.output or self.process.poll() is not None, f"{words!r} in the output")
        assert words in self.output, self.output

    def trainers(self) -> list[psutil.Process]:
        try:
            found = psutil.Process(self.process.pid).children()
            servers = [child for child in found if "hpo.fork_server" in child.cmdline()]
            found = [child for child in found if child not in servers and "trainer" in " ".join(child.cmdline())]
            return found + [child for one in servers + servers_of(self.process.pid) for child in one.children()]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, with nothing of it left when this returns but its trainers, who have yet to notice."""
        self.process.kill()
        self.process.wait()

    def ends(self, code: int = 0, seconds: float = PATIENCE) -> str:
        """Wait for the end; the output."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {seconds:.0f} s:\n{self.output}") from None
        assert self.process.returncode == code, self.output
        return self.output


@dataclass
class World:
    """url: of the database as a user would give it. fake: see fake_trainer.py; None trains for real.

    warm: processes are forked from one that has imported everything
    terminal: a descriptor; processes are started on it, as in a shell of its own
    """

    url: str
    folder: Path
    fake: dict[str, Any] | None = field(default_factory=dict)
    study: str = str(HERE / "table_study.py")
    name: str = "faults"
    lease_seconds: float = 2.0
    warm: bool = True
    terminal: int | None = None
    processes: list[Hpo] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hold = self.folder / "hold"
        self.direct = self.url  # for the test's own eyes, also while the way of the hpo processes is blocked
        if self.fake is not None:
            self.fake = {"log": str(self.folder / "log"), "hold": str(self.hold), **self.fake}

    @property
    def environ(self) -> dict[str, str]:
        """What every process in it has in its environment."""
        return {
            "PYTHONPATH": str(ROOT),
            "HPO_HOME": str(self.folder / "home"),
            "HPO_CHECKPOINT_DIR": str(self.folder / "checkpoints"),
            "HPO_LEASE_SECONDS": str(self.lease_seconds),
        }

    def start(self, *arguments: str, command: str = "run", **environ: str) -> Hpo:
        """`hpo run` (or another command) on the study, with two trainers."""
        given = [command, "--study", self.study, *arguments]
        given += ["--storage", self.url] if self.url and command != "check" else []  # "": the server in `folder`/home
        if command in ("run", "worker"):
            given += ["--trainers", "2"] if "--trainers" not in arguments else []
        variables = {
            **os.environ,
            **self.environ,
            **({"HPO_STORAGE": self.url} if command == "check" else {}),
            **({"FAKE": json.dumps(self.fake)} if self.fake is not None else {}),
            **environ,
        }
        output = self.folder / f"output{len(self.processes)}"
        # A module may read the clock while it is imported: where that is wrong, it is to be wrong from the start.
        warm = self.warm and self.terminal is None and "CLOCK" not in environ and can_be_warm(variables)
        process = Hpo(given, variables, output, self.terminal, warm=warm)
        self.processes.append(process)
        return process

    def run(self, *arguments: str, code: int = 0, **environ: str) -> str:
        return self.start(*arguments, **environ).ends(code)

    def end(self) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                process.send(signal.SIGCONT)
                process.kill()

    # What the database and the trainers say.

    def log(self, event: str = "", number: int | None = None) -> list[Line]:
        assert self.fake is not None
        path = Path(self.fake["log"])
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        parsed = [Line(float(t), int(pid), kind, int(n), int(epoch)) for t, pid, kind, n, epoch in lines]
        return [one for one in parsed if event in ("", one.event) and number in (None, one.number)]

    def sql(self, statement: str, **bound: Any) -> list[Any]:
        engine = create_engine(self.direct, poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(statement), bound)
            return list(result) if result.returns_rows else []

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """As stock Optuna reads them."""
        storage = optuna.storages.RDBStorage(self.direct, engine_kwargs={"poolclass": NullPool})
        return optuna.load_study(study_name=self.name, storage=storage).get_trials()

    def trial(self, number: int) -> optuna.trial.FrozenTrial:
        return self.trials()[number]

    def reached(self, epoch: int, number: int | None = None) -> Line:
        """Wait until a trial has finished this epoch."""
        return until(
            lambda: next((line for line in self.log("epoch", number) if line.epoch >= epoch), None),
            f"epoch {epoch} of {'a trial' if number is None else f'trial {number}'}\n{self.processes[-1].output}",
        )

    def attempts(self) -> dict[int, int]:
        query = "SELECT t.number, l.attempt FROM hpo_leases l JOIN trials t ON t.trial_id = l.trial_id"
        return {row[0]: row[1] for row in self.sql(query)}

    def check(self, finished: int, unfinished: int = 0) -> list[optuna.trial.FrozenTrial]:
        """No trial lost, none counted twice, none left RUNNING, no lease held, every number as it was trained.

        finished and unfinished: how many trials there are to be. The best is what the trials' own numbers make it.
        """
        trials = self.trials()
        states = [trial.state.name for trial in trials]
        assert "RUNNING" not in states, states
        assert [trial.number for trial in trials] == list(range(len(trials)))
        assert (sum(trial.state.is_finished() for trial in trials), states.count("WAITING")) == (finished, unfinished)
        assert self.sql("SELECT * FROM hpo_leases WHERE worker_id IS NOT NULL") == []
        if self.fake is not None:
            self._check_numbers(trials)
        return trials

    def _check_numbers(self, trials: list[optuna.trial.FrozenTrial]) -> None:
        rows = self.sql("SELECT t.number, e.epoch, e.val_accuracy FROM hpo_epochs e JOIN trials t USING (trial_id)")
        for trial in trials:
            curve = {epoch: value for number, epoch, value in rows if number == trial.number}
            assert curve == trial.intermediate_values
            assert sorted(trial.intermediate_values) == list(range(1, len(curve) + 1))
            for epoch, value in curve.items():
                assert value == metric({"lr": trial.params["lr"]}, epoch)
            if trial.state.name == "COMPLETE":
                assert len(curve) == 4
                assert trial.value == curve[4]
        complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
        if complete:
            best = max(complete, key=lambda trial: metric(trial.params, 4))
            assert hpo_best(self).number == best.number


def hpo_best(world: World) -> optuna.trial.FrozenTrial:
    """The best as `hpo best` would say it."""
    from hpo.results.reading import read_study
    from hpo.storage.engine import open_engine

    engine = open_engine(world.direct)
    try:
        best = read_study(engine, world.name).best
    finally:
        engine.dispose()
    assert best is not None
    return best


NewWorld = Callable[..., World]


@pytest.fixture
def new_world(database_url: str, tmp_path: Path) -> Iterator[NewWorld]:
    """Makes a world on a fresh database; what is started in it is ended with the test."""
    worlds: list[World] = []

    def make(**fields: Any) -> World:
        worlds.append(World(**{"url": database_url, "folder": tmp_path, **fields}))
        return worlds[-1]

    yield make
    for world in worlds:
        world.end()
