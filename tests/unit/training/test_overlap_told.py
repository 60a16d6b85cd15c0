"""Test samples that are in the train split are told where the winner is tested, once for all of its runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import synthetic
import torch

from hpo.evaluation.run_scheduler import RunScheduler
from hpo.messages import Finished
from hpo.training.fit import fit
from hpo.training.progress import StopRequest

SAID = "200 of 200 test samples of own are also in the train split (0, 1, 2, ...): a test score will be too good"


def test_the_final_run_says_it(make_job: Any, data: Any, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "same", lambda split, folders: synthetic.load("train", folders), raising=False)
    dataset = {"name": "own", "loader": "synthetic:same", "shape": [1, 28, 28], "validation": 0.2}
    job = make_job(dataset=dataset | {"classes": list("0123456789")}, phase="final")
    said: list[str] = []
    finished = fit(job, data, device, lambda epoch: None, StopRequest(), said.append)
    assert finished.facts["test_overlap"] == SAID
    assert said == [], "the coordinator says it"
    assert SAID in finished.facts["warnings"]


def test_an_evaluation_tells_it_once() -> None:
    scheduler, told, results = RunScheduler.__new__(RunScheduler), list[str](), list[Any]()
    run = SimpleNamespace(job=SimpleNamespace(seed=1))
    vars(scheduler).update(
        _runs={1: (1, run), 2: (1, run)}, _curves={1: [], 2: []}, _said=set(), _leaving=False,
        _on_notice=told.append, _on_result=lambda run, result: results.append(result),
    )  # fmt: skip
    health = SimpleNamespace(works=lambda: None)
    slot: Any = SimpleNamespace(trial=None, health=health, ready=None, spec=SimpleNamespace(device="cpu"))
    for number in (1, 2):
        scheduler._on_finished(slot, Finished(number, "complete", facts={"test_overlap": SAID}))
    assert told == [SAID]
    assert len(results) == 2
