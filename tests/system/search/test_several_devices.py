"""A search whose trials train on two devices each, one of which is killed."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

import hpo

SCRIPT = """
import os, signal
import torch
from hpo import Float, Run, Study

def train(run: Run) -> None:
    network = run.wrap(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(network.parameters(), lr=run.params["lr"])
    state = run.resume(network=network, optimizer=optimizer, seen=[])
    for epoch in run.epochs():
        optimizer.zero_grad()
        loss = network(torch.ones(4, 2)).square().mean()
        loss.backward()
        optimizer.step()
        state.seen.append(epoch)
        run.report(val_loss=loss.item())
        killed = run.checkpoint_dir / "killed"
        if run.rank == 1 and run.number == 1 and epoch == 2 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    run.log(seen=state.seen)

study = Study(name="gang", train=train, objective="val_loss", direction="minimize", epochs=4, devices_per_trial=2,
              space={"lr": Float(1e-3, 1e-1, log=True)}, baseline={"lr": 1e-2})
"""


def test_a_search_on_two_devices_loses_nothing_when_a_rank_is_killed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("hpo.trainers.devices.usable_cores", lambda: 3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gang.py").write_text(SCRIPT)
    said: list[str] = []
    result = hpo.run("gang.py", trials=2, devices="cpu", on_notice=said.append)
    assert result.stopped == "trials", said
    assert [trial.state for trial in result.frozen] == [TrialState.COMPLETE] * 2, said
    assert any("3 devices, 2 for each trial: cpu left over" in sentence for sentence in said)
    lost = "trainer on cpu,cpu ended (signal SIGKILL) under trial 1, which will be resumed"
    assert [sentence for sentence in said if "ended" in sentence] == [lost]
    for trial in result.frozen:
        assert trial.user_attrs["seen"] == [0, 1, 2, 3]
        assert trial.user_attrs["device"] == "cpu,cpu"
        assert sorted(trial.intermediate_values) == [1, 2, 3, 4]
    assert not [
        one
        for one in psutil.Process().children(recursive=True)
        if {"hpo.trainer", "hpo.gang_trainer"} & set(one.cmdline())
    ]
