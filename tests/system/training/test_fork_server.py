"""Trainers are forked from one process that has imported torch; each is like one that was started by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import hpo
from hpo.errors import DeviceError
from hpo.messages import Ready
from hpo.trainers import forked
from hpo.trainers.process import TrainerProcess


@contextlib.contextmanager
def started(device: str = "cpu", **environ: str) -> Iterator[TrainerProcess]:
    process = TrainerProcess(device, environ={**os.environ, **environ})
    try:
        yield process
    finally:
        process.kill()


def ready(process: TrainerProcess) -> int:
    """Its number, once it is ready."""
    message = process.receive()
    assert isinstance(message, Ready)
    assert message.pid == process.pid
    return message.pid


def server_of(pid: int) -> psutil.Process:
    server = psutil.Process(pid).parent()
    assert server is not None
    assert "hpo.fork_server" in server.cmdline()
    return server


def ends(pid: int) -> None:
    limit = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_how_a_trainer_ends_is_known(capfd: pytest.CaptureFixture[str]) -> None:
    with started() as first, started() as second, started("cuda:97") as without:
        assert server_of(ready(first)) == server_of(ready(second))
        assert os.getpgid(first.pid or 0) == first.pid  # Ctrl-C in a terminal is not for it
        assert psutil.Process(first.pid).name() == "hpo cpu"
        assert without.receive() is None
        assert without.close() == f"exit code {DeviceError.exit_code}"
        assert "cuda:97" in capfd.readouterr().err  # it writes where its coordinator does now
        os.kill(second.pid or 0, signal.SIGKILL)
        assert second.receive() is None
        assert second.close() == "signal SIGKILL"
        assert first.kill() == "signal SIGKILL"
        assert first.ended_with == -signal.SIGKILL


def test_where_the_server_is_killed_its_trainers_stay_and_their_end_is_seen() -> None:
    with started() as first:
        old = server_of(ready(first))
        old.kill()
        ends(old.pid)
        with started() as second:
            begun = psutil.Process().children()[-1]
            begun.kill()  # before it has forked anything: the trainer is another server's, and nothing has ended
            assert server_of(ready(second)) not in (old, begun)
        assert psutil.Process(first.pid).name() == "hpo cpu"
        os.kill(first.pid or 0, signal.SIGTERM)  # which it passes over
        assert first.kill() == "signal SIGKILL"
        assert not psutil.pid_exists(first.pid or 0) or psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE


def test_a_trainer_under_which_every_server_is_killed_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import of torch that ends its process would otherwise be tried for ever."""
    begun: list[str] = []

    def ends_itself(module: str) -> tuple[str, ...]:
        begun.append(module)
        return (sys.executable, "-S", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")

    monkeypatch.setattr(forked, "command_of", ends_itself)
    with started(TORCH_LOGS="") as process:
        assert process.receive() is None
        assert process.close() == "signal SIGSEGV"
    assert begun == ["hpo.fork_server"] * forked.SERVERS


def test_one_that_is_no_longer_wanted_before_it_begins_is_waited_for_by_nobody() -> None:
    """Nor does the import of torch go on for it."""
    process = TrainerProcess("cpu", environ={**os.environ, "TORCH_LOGS": ""})  # a server of its own
    server = psutil.Process().children()[-1]
    began = time.monotonic()
    assert process.kill() == "signal SIGKILL"
    assert time.monotonic() - began < 0.5
    ends(server.pid)


def test_what_an_import_may_depend_on_makes_another_server_and_the_first_stays_for_its_own() -> None:
    with started() as first:
        before = server_of(ready(first))
        with started(HPO_ANYTHING="1") as same, started(NUMBA_ANYTHING="1") as other:
            assert server_of(ready(same)) == before
            assert server_of(ready(other)) != before
            assert first.kill() == same.kill() == "signal SIGKILL"
        ends(before.pid)


def test_without_trainers_the_server_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "IDLE_SECONDS", 0.2)
    with started() as only:
        server = server_of(ready(only))
    ends(server.pid)
    with started() as another:
        assert server_of(ready(another)) != server


OBJECTIVE = """
import os, pathlib, random, time, numpy, torch

def objective(trial):
    pathlib.Path(f"trainer-{os.getpid()}").touch()
    while len(list(pathlib.Path().glob("trainer-*"))) < 2:
        time.sleep(0.01)
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("seen", [os.getpid(), os.getppid(), os.getcwd(), os.environ.get("HPO_SEEN"),
                                 sorted(name for name in os.environ if "STORAGE" in name),
                                 torch.cuda._is_in_bad_fork(), __import__("__main__").__name__])
    trial.set_user_attr("random", [random.random(), float(numpy.random.rand())])
    return 1.0
"""


def test_a_forked_trainer_has_what_one_of_its_own_would_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder and environment; no secret; a GPU could be opened; draws that no other trainer makes."""
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPO_SEEN", "yes")
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    result = hpo.run("mine.py:objective", direction="minimize", trials=2, trainers=2, timeout="60s")
    seen = [trial.user_attrs["seen"] for trial in result.frozen]
    assert len({one[0] for one in seen}) == 2
    assert len({one[1] for one in seen}) == 1
    for one in seen:
        assert one[2:] == [str(tmp_path), "yes", [], False, "hpo.trainer"]
    draws = [number for trial in result.frozen for number in trial.user_attrs["random"]]
    assert len(set(draws)) == len(draws)
