"""A search whose trials wait in turn, with real training: declared models, and functions of the user's own."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import hpo
from hpo.reproduction.reproduce import reproduce
from hpo.settings import Settings

TRIALS = 8


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))


def check_ended(url: str, name: str, trials: int, epochs: int) -> None:
    """Stock Optuna reads an ordinary study: complete trials have all epochs, pruned ones their last value."""
    found = optuna.load_study(study_name=name, storage=url).get_trials()
    assert len(found) == trials
    assert {trial.state for trial in found} <= {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in found:
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
        assert (trial.state is TrialState.COMPLETE) == (len(trial.intermediate_values) == epochs)
    assert found[0].state is TrialState.COMPLETE


DECLARED = """
from hpo import Float, FreezeThaw, Int, Study

study = Study(
    name="frozen",
    dataset="digits",
    model="mlp",
    space={
        "batch_size": Int(32, 128),
        "layers": Int(1, 2),
        "hidden_units": Int(8, 64).per("layers"),
        "lr": Float(1e-4, 1e-1, log=True),
    },
    baseline={"batch_size": 64, "layers": 1, "hidden_units": [32], "lr": 1e-3},
    epochs=8,
    search=FreezeThaw(),
)
"""


def test_a_declared_study_goes_on_with_paused_trials_bit_for_bit(
    tmp_path: Path, database_url: str, settings: Settings
) -> None:
    path = tmp_path / "frozen.py"
    path.write_text(DECLARED)
    said: list[str] = []
    result = hpo.run(str(path), trials=TRIALS, trainers=2, devices="cpu", storage=database_url, on_notice=said.append)
    assert result.stopped == "trials"
    assert len(result.trials) == TRIALS
    check_ended(database_url, "frozen", TRIALS, epochs=8)
    assert any(trial.user_attrs.get("resumed_epoch") for trial in result_trials(database_url)), said
    rows = [row for trial in result_trials(database_url) for row in trial.user_attrs["decisions"]]
    assert {"after", "until", "expected", "spread", "goal", "chance", "seconds", "rivals"} <= set(rows[-1])
    often = max(result_trials(database_url), key=lambda trial: len(trial.user_attrs["decisions"]))
    assert len(often.user_attrs["decisions"]) >= 3, "it was put down twice"
    again = reproduce(str(path), often.number, storage=database_url, device=None, settings=settings)
    assert (again.same, again.compared, again.mismatches) == (True, len(often.intermediate_values), ())


def result_trials(url: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="frozen", storage=url).get_trials()


OWN = """
import torch
from hpo import Float, FreezeThaw, Run, Study

def train(run: Run):
    weight = torch.zeros(1)
    weight = {resume}
    for epoch in run.epochs():
        weight += run.params["lr"]
        {report}
    return {{"score": weight.item()}}

study = Study(name="own", train=train, space={{"lr": Float(0.001, 0.1)}}, baseline={{"lr": 0.01}}, epochs=12,
              objective="score", direction="maximize", search=FreezeThaw())
"""


@pytest.mark.parametrize(
    ("resume", "report", "waits"),
    [
        ("run.resume(weight=weight).weight", "run.report(score=weight.item())", True),
        ("weight", "run.report(score=weight.item())", False),
        ("run.resume(weight=weight).weight", "pass", False),
    ],
    ids=["resumes", "keeps nothing", "reports nothing"],
)
def test_a_function_of_ones_own_waits_if_it_can_and_else_the_user_is_told(
    tmp_path: Path, database_url: str, resume: str, report: str, waits: bool
) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN.format(resume=resume, report=report))
    said: list[str] = []
    hpo.run(str(path), trials=6, trainers=1, devices="cpu", storage=database_url, on_notice=said.append)
    trials = optuna.load_study(study_name="own", storage=database_url).get_trials()
    assert len(trials) == 6
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    told = [sentence for sentence in said if "FreezeThaw() cannot pause trial" in sentence]
    assert len(told) == (0 if waits else 1), said
    if waits:
        check_ended(database_url, "own", 6, epochs=12)
        best = max(trials, key=lambda trial: trial.value or 0.0)
        assert best.value == pytest.approx(12 * best.params["lr"], rel=1e-4), "it went on from where it was"
