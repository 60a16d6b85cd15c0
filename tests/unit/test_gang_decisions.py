"""What becomes of a trial on several devices when one of its ranks ends, hangs or fails: decided in front of them."""

from __future__ import annotations

import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from hpo import gang_trainer
from hpo.gang_trainer import Gang
from hpo.messages import LOST_PEER, Finished, Job, Message, Protocol, Ready, Stop, decode, encode

JOB = Job(4, 0, {}, Protocol(epochs=5, objectives=("val_loss",)), {}, {}, 7, "")
LOST = Finished(4, LOST_PEER, reason="[gloo] Connection closed by peer")
PATIENCE = 30.0


class FakeRank:
    """A rank without a process: the test has the other end of its socket, and says how it ended."""

    def __init__(self, device: str, **_: Any) -> None:
        self.device, self.ended_with, self.ended = device, 0, False
        self.connection, self.there = Pipe()

    def send(self, message: Message) -> None:
        self.connection.send_bytes(encode(message))

    def receive(self) -> Message | None:
        try:
            return decode(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        self.ended = True

    def kill(self) -> None:
        self.connection.close()

    def close(self) -> str:
        self.ended = True
        return "signal SIGKILL" if self.ended_with == -9 else f"exit code {self.ended_with}"

    # The test's side ------------------------------------------------------------------------------------------------

    def says(self, message: Message) -> None:
        self.there.send_bytes(encode(message))

    def ready(self, torch: str = "2.15.0") -> None:
        self.says(Ready(1, self.device, "an H200", {"torch": torch}))

    def hears(self) -> Message:
        return heard(self.there)

    def dies(self, code: int) -> None:
        self.ended_with = code
        self.there.close()


def heard(connection: Connection) -> Message:
    assert connection.poll(PATIENCE), "nothing is said"
    return decode(connection.recv_bytes())


class GangOfTest:
    """A gang on two GPUs, and its coordinator's end of the socket."""

    def __init__(self, folder: Path, ranks: list[FakeRank]) -> None:
        self.coordinator, theirs = Pipe()
        self._gang, self.ranks, self._code = Gang(theirs, ["cuda:0", "cuda:1"], folder, ("rank",)), ranks, None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        self._code = self._gang.work()

    def trains(self) -> tuple[FakeRank, FakeRank]:
        """Its two ranks, which have begun a job."""
        first, second = self.ranks
        for rank in self.ranks:
            rank.ready()
        self.coordinator.send_bytes(encode(JOB))
        self._thread.start()
        assert isinstance(heard(self.coordinator), Ready)
        assert first.hears() == second.hears() == JOB
        return first, second

    def ends(self) -> int:
        """How, as a process."""
        if not self._thread.ident:
            self._thread.start()
        self._thread.join(PATIENCE)
        assert self._code is not None, "it goes on"
        return self._code


@pytest.fixture
def gang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GangOfTest:
    ranks: list[FakeRank] = []

    def start(device: str, **given: Any) -> FakeRank:
        ranks.append(FakeRank(device, **given))
        return ranks[-1]

    monkeypatch.setenv("HPO_RANK_SECONDS", "0.2")
    monkeypatch.setattr(gang_trainer, "CAUSE_SECONDS", 0.2)
    monkeypatch.setattr(gang_trainer, "TrainerProcess", start)
    return GangOfTest(tmp_path, ranks)


Captured = pytest.CaptureFixture[str]


def test_ranks_on_different_versions_do_not_begin(gang: GangOfTest, capfd: Captured) -> None:
    gang.ranks[0].ready("2.15.0")
    gang.ranks[1].ready("2.9.1")
    assert gang.ends() == 5
    said = capfd.readouterr().err
    assert "rank 1 runs torch 2.9.1, and rank 0 torch 2.15.0: ranks cannot train together" in said
    assert "start again once the installation is whole" in said


@pytest.mark.parametrize("code", [-9, -11, 5, 1])
def test_a_rank_that_is_lost_ends_the_gang_as_it_ended(gang: GangOfTest, capfd: Captured, code: int) -> None:
    """Killed, crashed, or left by its GPU (5), whatever the others have said of it by then."""
    first, second = gang.trains()
    first.says(LOST)
    second.dies(code)
    assert gang.ends() == code
    said = capfd.readouterr().err
    assert said.startswith("rank 1 of 2 on cuda:1 ended (")
    assert "`hpo doctor` tests the devices" in said


def test_a_gpu_that_is_gone_before_a_rank_has_begun_ends_the_gang(gang: GangOfTest, capfd: Captured) -> None:
    gang.ranks[0].ready()
    gang.ranks[1].dies(5)
    assert gang.ends() == 5
    assert capfd.readouterr().err.startswith("rank 1 of 2 on cuda:1 ended (exit code 5)")


def test_a_rank_that_hangs_is_not_waited_for_longer_than_the_others_do(gang: GangOfTest, capfd: Captured) -> None:
    """Whether the others say that they miss it, or have ended the trial."""
    gang.trains()[0].says(Finished(4, "complete"))
    assert gang.ends() == 5
    said = capfd.readouterr().err
    assert said.startswith("rank 1 (cuda:1) of 2 does not answer: the others have finished the trial, or")
    assert "HPO_RANK_SECONDS" in said


def test_ranks_that_miss_each_other_end_the_gang_and_not_the_trial(gang: GangOfTest, capfd: Captured) -> None:
    for rank in gang.trains():
        rank.says(LOST)
    assert gang.ends() == 5
    assert "the ranks have lost each other: [gloo] Connection closed by peer" in capfd.readouterr().err


@pytest.mark.parametrize("failed", [0, 1])
def test_an_error_of_one_rank_is_the_trials_and_fresh_ranks_train_the_next(gang: GangOfTest, failed: int) -> None:
    ranks = gang.trains()
    out = Finished(4, "out_of_memory", reason="CUDA out of memory")
    ranks[1 - failed].says(LOST)
    ranks[failed].says(out)
    said = heard(gang.coordinator)
    assert isinstance(said, Finished)
    assert (said.outcome, said.reason, said.facts["device"]) == ("out_of_memory", out.reason, "cuda:0,cuda:1")
    assert [rank.ended for rank in gang.ranks] == [True, True, False, False]
    for rank in gang.ranks[2:]:
        rank.ready()
    gang.coordinator.send_bytes(encode(JOB))
    for rank in gang.ranks[2:]:
        assert rank.hears() == JOB
        rank.says(Finished(4, "complete"))
    assert isinstance(said := heard(gang.coordinator), Finished)
    assert said.outcome == "complete"
    assert len(gang.ranks) == 4
    gang.coordinator.close()
    assert gang.ends() == 0


@pytest.mark.parametrize("outcome", ["complete", "stopped", "diverged"])
def test_a_trial_that_ends_in_all_ranks_keeps_them(gang: GangOfTest, outcome: str) -> None:
    """A deadline's stop goes to each of them; what rank 0 says of the end counts."""
    ranks = gang.trains()
    stop = Stop(JOB.trial_id, keep=True)
    gang.coordinator.send_bytes(encode(stop))
    assert [rank.hears() for rank in ranks] == [stop, stop]
    for number in (1, 0):
        ranks[number].says(Finished(4, outcome, facts={"rank": number}))
    assert isinstance(said := heard(gang.coordinator), Finished)
    assert (said.outcome, said.facts["rank"]) == (outcome, 0)
    assert not any(rank.ended for rank in ranks)
    gang.coordinator.close()
    assert gang.ends() == 0
