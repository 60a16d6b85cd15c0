"""Users of Lightning and Hugging Face, whose loops are killed and go on, and of timm, whose networks have names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from coordinator import believe_in_another_host
from frameworks import needs
from world import World, until

import hpo
from hpo.cli.main import run_command
from hpo.search import identity

HERE = Path(__file__).parent / "frameworks"
EPOCHS = 16


def epochs(world: World) -> int:
    if world.sql("SELECT to_regclass('hpo_epochs')")[0][0] is None:
        return 0  # no tables yet
    query = "SELECT count(*) FROM hpo_epochs e JOIN trials t USING (trial_id) WHERE number = 0"
    return int(world.sql(query)[0][0])


def saved(world: World) -> bool:
    return any((world.folder / "checkpoints").glob("*/0/current"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("lightning_study", marks=needs("lightning")),
        pytest.param("transformers_study", marks=needs("transformers")),
    ],
)
def test_a_lost_hosts_trial_is_on_another_bit_for_bit_the_one_left_alone(
    new_world: Any, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world: World = new_world(study=str(HERE / f"{name}.py"), name=name, fake=None, lease_seconds=4.0)
    process = world.start("--trials", "1", "--trainers", "1", OTHER_HOST="lost")
    until(lambda: (epochs(world) >= 3 and saved(world)) or process.process.poll() is not None, "a checkpoint")
    process.kill()
    goes_on_here(world, monkeypatch)
    assert run_command(["run", "--study", world.study, "--trials", "1", "--trainers", "1"]) == 0
    [trial] = world.check(finished=1)
    assert (trial.state.name, trial.user_attrs["host"]) == ("COMPLETE", "other")
    assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))
    assert trial.value == trial.intermediate_values[EPOCHS]
    assert trial.user_attrs["resumed_epoch"] is not None, "it went on from a checkpoint"
    assert trial.user_attrs["warnings"] == []
    capsys.readouterr()
    assert run_command(["reproduce", "--study", world.study, "--trial", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"]


def goes_on_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is another host of the same world: its trainers come from one process that has imported torch."""
    for variable, value in world.environ.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("HPO_STORAGE", world.url)
    for name in ("socket", "_boot_id"):
        monkeypatch.setattr(identity, name, getattr(identity, name))  # restored after the test
    believe_in_another_host("other")


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs("timm"))])
def test_a_network_of_timms_is_searched_by_its_name(
    _: None, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_STORAGE", database_url)
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    found = hpo.run(str(HERE / "timm_study.py"), trials=2, trainers=1)
    assert found.counts["complete"] == 2
    assert found.best.value > 0.15  # of ten digits
