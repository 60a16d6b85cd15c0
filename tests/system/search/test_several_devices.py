"""A search whose trials train on two devices each, one of which is killed, beside one whose trials train alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

import hpo

SCRIPT = """
import os, pathlib, signal, time
import torch
from hpo import Float, Run, Study

def meet(word: str, run: Run) -> None:
    # Until a trial of each kind is as far, one on two devices and one on one: neither waits for the other to end.
    pathlib.Path(f"{word}-{run.world_size}").touch()
    limit = time.monotonic() + 300
    while not all(pathlib.Path(f"{word}-{size}").exists() for size in (1, 2)):
        assert time.monotonic() < limit, f"alone: {word}"
        time.sleep(0.05)

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
        if epoch == 0:
            meet("begun", run)
        killed = pathlib.Path("killed")
        if run.rank == 1 and epoch == 2 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    meet("trained", run)
    run.log(seen=state.seen)

study = Study(name="gang", train=train, objective="val_loss", direction="minimize", epochs=4, devices_per_trial=2,
              space={"lr": Float(1e-3, 1e-1, log=True)}, baseline={"lr": 1e-2})
"""


def test_a_search_on_two_devices_loses_nothing_when_a_rank_is_killed_beside_one_of_single_devices(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds of trials of one study are trained at the same time on one host, and end."""
    monkeypatch.setenv("HPO_STORAGE", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("hpo.trainers.devices.usable_cores", lambda: 3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gang.py").write_text(SCRIPT)
    said: list[str] = []
    # Four trials: each run trains one, and has another one ready.
    words = ["run", "--study", "gang.py", "--trials", "4", "--trainers", "1", "--devices-per-trial", "1"]
    with (tmp_path / "alone.txt").open("w") as output:
        alone = subprocess.Popen([sys.executable, "-m", "hpo", *words], stdout=output, stderr=output)
        try:
            result = hpo.run("gang.py", trials=4, devices="cpu", on_notice=said.append)
            assert alone.wait(60) == 0, (tmp_path / "alone.txt").read_text()
        finally:
            alone.kill()
    assert result.stopped == "trials", said
    assert [trial.state for trial in result.frozen] == [TrialState.COMPLETE] * 4, said
    assert {trial.user_attrs["device"] for trial in result.frozen} == {"cpu", "cpu,cpu"}
    assert any("3 devices, 2 for each trial: cpu left over" in sentence for sentence in said)
    (lost,) = [sentence for sentence in said if "ended" in sentence]
    assert re.fullmatch(r"trainer on cpu,cpu ended \(signal SIGKILL\) under trial \d, which will be resumed", lost)
    for trial in result.frozen:
        assert trial.user_attrs["seen"] == [0, 1, 2, 3]
        assert sorted(trial.intermediate_values) == [1, 2, 3, 4]
    assert not [
        one
        for one in psutil.Process().children(recursive=True)
        if {"hpo.trainer", "hpo.gang_trainer"} & set(one.as_dict(["cmdline"])["cmdline"] or ())
    ]
