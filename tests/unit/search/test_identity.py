"""Which process a worker is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpo.search.identity import is_gone, own_identity


def test_a_coordinator_has_one_worker_id_for_all_it_does_and_no_two_have_the_same() -> None:
    """The id it opens the study with is the one it renews its leases under, and the one its trials record."""
    identity = own_identity()
    assert identity.worker_id == identity.worker_id
    assert identity.worker_id != own_identity().worker_id
    assert "worker_id" not in identity.as_json()


LEASE, UPTIME = 30.0, 1000.0
EARLIER = {"boot_id": "an earlier boot", "pid": 1}


@pytest.mark.parametrize(
    ("changed", "silent", "gone"),
    [
        ({}, 0.0, False),
        ({"started": 1.0}, 0.0, True),
        ({"pid_namespace": "another container"}, 5000.0, False),
        (EARLIER, 5000.0, True),
        (EARLIER, 0.0, False),
        (EARLIER, LEASE + 1, False),
        (EARLIER | {"host": "another"}, 5000.0, False),
        (EARLIER | {"machine_id": "another"}, 5000.0, False),
        (EARLIER | {"machine_id": ""}, 5000.0, False),
        ({"boot_id": ""}, 5000.0, False),
    ],
    ids=[
        "this process",
        "its number is another process's now",
        "another container of this machine",
        "before this machine's last boot",
        "another machine of this name, at work",
        "another machine of this name, heard of since this one booted",
        "another name",
        "another machine id",
        "no machine id",
        "no boot id",
    ],
)
def test_only_what_cannot_be_alive_is_gone(
    changed: dict[str, Any], silent: float, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.search.identity._seconds_since_boot", lambda: UPTIME)
    here = replace(own_identity(), machine_id="m")
    assert is_gone({**here.as_json(), **changed}, here, silent, LEASE) is gone


def test_two_machines_without_an_id_are_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo.search.identity._seconds_since_boot", lambda: UPTIME)
    here = replace(own_identity(), machine_id="")
    assert not is_gone({**here.as_json(), **EARLIER}, here, 5000.0, LEASE)


def test_just_after_a_boot_a_silent_lease_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that booted a moment ago cannot tell its own past from a namesake that is slow to answer."""
    monkeypatch.setattr("hpo.search.identity._seconds_since_boot", lambda: 5.0)
    here = replace(own_identity(), machine_id="m")
    assert not is_gone({**here.as_json(), **EARLIER}, here, 10.0, LEASE)
    assert is_gone({**here.as_json(), **EARLIER}, here, LEASE, LEASE)
