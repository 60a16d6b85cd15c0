"""What a trial and `hpo doctor` say of the ways that a trainer has on its CPU."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hpo.doctor.devices import _kernels
from hpo.messages import Job, Protocol, Ready, decode, encode
from hpo.reproduction.comparing import Change, changes
from hpo.reproduction.record import Record
from hpo.search.reporting import SearchProgress

CHOICE = {"native": True, "one_call": 64}
OWN = {"choice": CHOICE, "words": "one call of C", "measured": "2026-11-28 07:06 UTC", "file": "/c.json", "notes": []}


@pytest.mark.parametrize(
    ("own", "kernels", "recorded"), [(None, OWN, CHOICE), (None, {}, None), (SimpleNamespace(), OWN, None)]
)
def test_a_trial_records_how_its_trainer_trains(own: Any, kernels: dict[str, Any], recorded: Any) -> None:
    """A pruned one too, whose trainer has no last word; not a function of the user's own, which trains as it likes."""
    ready = decode(encode(Ready(1, "cpu", "a processor", {}, kernels)))
    slot: Any = SimpleNamespace(ready=ready, spec=SimpleNamespace(device="cpu"), seconds=1.0)
    here: Any = SimpleNamespace(_study=SimpleNamespace(own=own, seed=0), _facts={})
    trial: Any = SimpleNamespace(number=3)
    assert SearchProgress.record(here, slot, trial, {}).get("kernels") == recorded
    assert SearchProgress.record(here, slot, trial, {"kernels": {"one_call": 1}})["kernels"] == {"one_call": 1}


def test_a_reproduction_tells_other_ways() -> None:
    """One by one, where both are known."""

    def found(then: dict[str, Any], now: dict[str, Any]) -> list[Change]:
        record = SimpleNamespace(facts={"kernels": then}, sources={})
        return changes(cast(Record, record), {"kernels": now}, {})

    assert found(CHOICE, CHOICE) == found({}, CHOICE) == found(CHOICE, {}) == []
    assert found(CHOICE, {**CHOICE, "one_call": 128}) == [Change("kernels: one_call", "64", "128")]


def test_ways_are_no_part_of_what_a_job_is() -> None:
    """Else a checkpoint would not be found again where another machine resumes it."""
    job = Job(1, 0, {}, Protocol(1, ("val_accuracy",)), {}, {}, seed=0)
    assert replace(job, kernels=CHOICE).key == job.key != replace(job, seed=1).key


def test_doctor_shows_what_was_measured_and_when() -> None:
    found = _kernels(OWN)
    assert (found.level, found.fact) == ("ok", "one call of C; measured 2026-11-28 07:06 UTC")
    assert found.details == ("kept in /c.json; delete it to have it measured anew",)
    assert _kernels({**OWN, "measured": "", "file": ""}).fact == "one call of C; not measured here"
    told = _kernels({**OWN, "notes": ["no C compiler"]})
    assert (told.level, told.details) == ("warn", ("no C compiler",))
